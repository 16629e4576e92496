-- The next window: from the cursor to the oldest transaction that still runs, at most about batch_size changes.
-- A transaction is never split: all of its changes carry one id. `more` says that the log goes on behind the window.
WITH horizon AS MATERIALIZED (
    SELECT pg_snapshot_xmin(pg_current_snapshot()) AS xid
), by_transaction AS (
    SELECT c.change_xid, count(*) FILTER (WHERE c.entity <> 'heartbeat') AS changes,
           min(c.changed_at) FILTER (WHERE c.entity <> 'heartbeat') AS oldest,
           max(c.changed_at) FILTER (WHERE c.entity = 'heartbeat') AS heartbeat,
           array_agg(DISTINCT c.entity) FILTER (WHERE c.op = 'T') AS truncated
    FROM content_changes c, horizon h
    WHERE c.change_xid >= %(low)s::xid8 AND c.change_xid < h.xid
    GROUP BY c.change_xid
    ORDER BY c.change_xid
    LIMIT %(batch_size)s + 1
), running AS (
    SELECT *, sum(changes) OVER (ORDER BY change_xid) AS total, row_number() OVER (ORDER BY change_xid) AS place
    FROM by_transaction
), taken AS (
    SELECT * FROM running WHERE (total <= %(batch_size)s AND place <= %(batch_size)s) OR place = 1
), summed AS (
    SELECT coalesce(sum(changes), 0)::bigint AS changes, min(oldest) AS oldest_change_at, max(heartbeat) AS heartbeat_at,
           (max(change_xid)::text::numeric + 1)::text AS behind_last, count(*) < (SELECT count(*) FROM running) AS more,
           coalesce((SELECT array_agg(DISTINCT name) FROM taken t, unnest(t.truncated) AS name), '{}') AS truncated
    FROM taken
)
SELECT changes, oldest_change_at, heartbeat_at, truncated, more,
       CASE WHEN more THEN behind_last ELSE (SELECT xid::text FROM horizon) END AS high_xid
FROM summed
