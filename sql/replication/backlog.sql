-- What waits for replication, up to a bound; bodies counted by their recorded size. Seconds are the age of the oldest change.
WITH waiting AS MATERIALIZED (
    SELECT c.entity, c.entity_id, c.changed_at
    FROM content_changes c
    WHERE c.entity <> 'heartbeat' AND c.change_xid >= coalesce((SELECT next_xid FROM replication_cursor), '0'::xid8)
    LIMIT %(most)s
)
SELECT count(*) AS changes,
       coalesce((SELECT sum(m.storage_size_bytes) FROM content_storage_metadata m
                 WHERE m.id IN (SELECT entity_id FROM waiting WHERE entity = 'content_storage')), 0)::bigint AS bytes,
       coalesce(extract(epoch FROM clock_timestamp() - min(changed_at)), 0)::float8 AS oldest_seconds
FROM waiting
