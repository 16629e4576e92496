-- Rows of content_storage_metadata that no change since the last closed window touched, and the ids that one did. One statement, one snapshot.
WITH changed AS MATERIALIZED (
    SELECT DISTINCT c.entity_id
    FROM content_changes c, replication_cursor r
    WHERE c.entity = %(entity)s AND c.entity_id IS NOT NULL AND c.change_xid >= r.next_xid
    LIMIT %(most)s
)
SELECT (SELECT count(*) FROM content_storage_metadata t WHERE NOT EXISTS (SELECT FROM changed c WHERE c.entity_id = t.id)) AS unchanged_rows,
       (SELECT coalesce(array_agg(entity_id::text), '{}') FROM changed) AS changed
