-- Which of these keys changed since the last closed window: BigQuery is to have them, but not yet.
SELECT DISTINCT c.entity_id::text AS entity_id
FROM content_changes c LEFT JOIN replication_cursor p ON true
WHERE c.entity = %(entity)s AND c.entity_id = ANY (%(ids)s::uuid[]) AND c.change_xid >= coalesce(p.next_xid, '0'::xid8)
