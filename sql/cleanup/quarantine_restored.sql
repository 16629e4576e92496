-- The copy is kept a while longer; see moving.py.
UPDATE cleanup_quarantine SET state = 'restored', file_fate = %(file_fate)s, ended_at = clock_timestamp(), error = NULL
WHERE quarantine_id = %(quarantine_id)s AND state = 'restoring'
