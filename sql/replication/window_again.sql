-- Another attempt at a window that was left open. The number of the attempt fences off the run that left it.
UPDATE replication_windows SET attempts = attempts + 1, run_id = %(run_id)s
WHERE sync_id = %(sync_id)s AND status = 'open' AND attempts = %(attempts)s
RETURNING sync_id, system_identifier, low_xid::text AS low_xid, high_xid::text AS high_xid, changes, oldest_change_at, heartbeat_at,
    truncated, synced_at, attempts
