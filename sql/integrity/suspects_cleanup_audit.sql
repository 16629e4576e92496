-- What became of ids that seemed to differ: the version of their row in cleanup_audit, and whether the log names a change behind the
-- cursor of the comparison. An entry is never deleted by rule, so no tombstone is its last word.
SELECT s.id::text AS entity_id, t.xmin::text AS row_version,
       CASE WHEN t.id IS NOT NULL THEN coalesce(t.tenant_id, '00000000-0000-0000-0000-000000000000')::text END AS tenant_id,
       coalesce(bool_or(c.change_xid >= %(cursor)s::xid8), false) AS changed,
       false AS deleted,
       EXISTS (SELECT FROM content_changes x WHERE x.op = 'T' AND x.entity = %(entity)s AND x.change_xid >= %(cursor)s::xid8)
           AS truncated
FROM unnest(%(ids)s::uuid[]) AS s (id)
LEFT JOIN cleanup_audit t ON t.id = s.id
LEFT JOIN content_changes c ON c.entity = %(entity)s AND c.entity_id = s.id
GROUP BY s.id, t.id, t.xmin::text, t.tenant_id
