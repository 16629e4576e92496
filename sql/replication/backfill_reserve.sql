-- Takes the next sync id for a snapshot. Windows opened before have smaller ids and older states, later ones greater and
-- newer ones: so the order of ids is the order of states, and no window has to wait for the snapshot.
UPDATE replication_cursor
SET last_sync_id = greatest(last_sync_id + 1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint), updated_at = clock_timestamp()
RETURNING last_sync_id AS sync_id, clock_timestamp() AS synced_at
