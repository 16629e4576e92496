-- Which of these keys of a tenant no row names.
SELECT k.key FROM unnest(%(keys)s::text[]) AS k (key)
WHERE NOT EXISTS (SELECT FROM media_objects o WHERE o.tenant_id = %(tenant_id)s AND o.key = k.key)
  AND NOT EXISTS (SELECT FROM media_variants v WHERE v.tenant_id = %(tenant_id)s AND v.key = k.key)
  AND NOT EXISTS (SELECT FROM media_superseded s WHERE s.tenant_id = %(tenant_id)s AND s.key = k.key)
