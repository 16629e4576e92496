-- Begins anew in this cluster: everything below the horizon is for the snapshot that follows, everything else for windows.
UPDATE replication_cursor
SET system_identifier = %(system_identifier)s, next_xid = pg_snapshot_xmin(pg_current_snapshot()), updated_at = clock_timestamp()
