-- Items with a change that has waited for BigQuery longer than an hour, counted among the oldest 100,000 changes.
SELECT count(*) AS items, coalesce(max(extract(epoch FROM clock_timestamp() - since)), 0)::float8 AS oldest_seconds
FROM (
    SELECT waiting.entity, waiting.entity_id, min(waiting.changed_at) AS since
    FROM (
        SELECT c.entity, c.entity_id, c.changed_at FROM content_changes c
        WHERE c.entity <> 'heartbeat' AND c.change_xid >= coalesce((SELECT next_xid FROM replication_cursor), '0'::xid8)
          AND c.changed_at < clock_timestamp() - interval '1 hour'
        LIMIT 100000
    ) AS waiting
    GROUP BY waiting.entity, waiting.entity_id
) AS items
