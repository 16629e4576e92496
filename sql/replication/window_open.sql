-- The window is written down before anything is loaded. Sync ids grow with time, so that they order the history even
-- after a restore into a new cluster.
INSERT INTO replication_windows (
    sync_id, system_identifier, low_xid, high_xid, changes, oldest_change_at, heartbeat_at, truncated, run_id, synced_at
)
SELECT greatest(cursor.last_sync_id + 1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint), cursor.system_identifier,
       cursor.next_xid, greatest(cursor.next_xid, %(high)s::xid8), %(changes)s, %(oldest_change_at)s, %(heartbeat_at)s,
       %(truncated)s, %(run_id)s, clock_timestamp()
FROM (SELECT * FROM replication_cursor FOR UPDATE) AS cursor
WHERE cursor.next_xid = %(low)s::xid8
RETURNING sync_id, system_identifier, low_xid::text AS low_xid, high_xid::text AS high_xid, changes, oldest_change_at, heartbeat_at,
    truncated, synced_at, attempts
