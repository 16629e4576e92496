-- The file's fate, last of all.
UPDATE cleanup_quarantine SET state = 'deleted', file_fate = %(file_fate)s, ended_at = clock_timestamp(), error = NULL
WHERE quarantine_id = %(quarantine_id)s AND state = 'deleting'
