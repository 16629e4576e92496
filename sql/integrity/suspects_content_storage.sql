-- What became of ids that seemed to differ: the version of their row in content_storage_metadata as it is now, whether the log names a
-- change behind the cursor of the comparison, and whether a delete before it is their last word.
SELECT s.id::text AS entity_id, t.xmin::text AS row_version, t.tenant_id::text AS tenant_id,
       coalesce(bool_or(c.change_xid >= %(cursor)s::xid8), false) AS changed,
       coalesce((array_agg(c.op ORDER BY c.change_id DESC) FILTER (WHERE c.change_id IS NOT NULL))[1] = 'D', false) AS deleted,
       EXISTS (SELECT FROM content_changes x WHERE x.op = 'T' AND x.entity = %(entity)s AND x.change_xid >= %(cursor)s::xid8)
           AS truncated
FROM unnest(%(ids)s::uuid[]) AS s (id)
LEFT JOIN content_storage_metadata t ON t.id = s.id
LEFT JOIN content_changes c ON c.entity = %(entity)s AND c.entity_id = s.id
GROUP BY s.id, t.xmin::text, t.tenant_id
