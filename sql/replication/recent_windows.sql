-- The last windows, newest first. Lag is how old the oldest change was when its window closed.
SELECT sync_id, status, changes, bytes_loaded, attempts, opened_at, closed_at, heartbeat_at,
       extract(epoch FROM closed_at - oldest_change_at)::float8 AS lag_seconds,
       extract(epoch FROM closed_at - opened_at)::float8 AS seconds
FROM replication_windows ORDER BY sync_id DESC LIMIT %(most)s
