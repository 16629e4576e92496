-- The original went after it had come back, so it comes back once more.
UPDATE cleanup_quarantine SET state = 'restoring', file_fate = 'moved', error = 'lost_again' WHERE quarantine_id = %(quarantine_id)s AND state = 'restored'
