-- The file is where it belongs, and there only.
UPDATE cleanup_quarantine SET quarantine_key = NULL WHERE quarantine_id = %(quarantine_id)s AND state = 'restored'
