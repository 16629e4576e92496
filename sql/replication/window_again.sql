-- Another attempt at a window that was left open.
UPDATE replication_windows SET attempts = attempts + 1, run_id = %(run_id)s WHERE sync_id = %(sync_id)s AND status = 'open'
