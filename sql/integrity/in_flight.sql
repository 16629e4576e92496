-- Ids that changed since the last closed window, up to a bound.
SELECT DISTINCT c.entity_id::text AS entity_id
FROM content_changes c
WHERE c.entity = %(entity)s AND c.entity_id IS NOT NULL AND c.change_xid >= %(cursor)s::xid8
LIMIT %(most)s
