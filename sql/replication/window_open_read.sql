-- The window that an earlier run left open, if any: it is finished before a new one begins.
SELECT sync_id, system_identifier, low_xid::text AS low_xid, high_xid::text AS high_xid, changes, oldest_change_at, heartbeat_at,
    truncated, synced_at, attempts
FROM replication_windows WHERE status = 'open'
