-- Sync ids order the history, so those to come must be above all that it holds, whatever the clock says.
UPDATE replication_cursor SET last_sync_id = greatest(last_sync_id, %(greatest)s::bigint), updated_at = clock_timestamp()
