-- Closes the window. Nothing updated means that somebody else took it over or closed it: stop.
UPDATE replication_windows
SET status = 'closed', closed_at = clock_timestamp(), rows_by_table = %(rows_by_table)s::jsonb, bytes_loaded = %(bytes_loaded)s,
    seconds_by_stage = %(seconds_by_stage)s::jsonb
WHERE sync_id = %(sync_id)s AND status = 'open' AND attempts = %(attempts)s
