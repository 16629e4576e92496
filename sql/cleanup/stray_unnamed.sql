-- Which of these keys of a tenant no row names: no object, no variant, no file that waits to be removed, no asset whose object is
-- not known yet (as after a restore), and no variant of a file whose variants are not known yet.
SELECT k.key FROM unnest(%(keys)s::text[]) AS k (key)
WHERE NOT EXISTS (SELECT FROM media_objects o WHERE o.tenant_id = %(tenant_id)s AND o.key = k.key)
  AND NOT EXISTS (SELECT FROM media_variants v WHERE v.tenant_id = %(tenant_id)s AND v.key = k.key)
  AND NOT EXISTS (SELECT FROM media_superseded s WHERE s.tenant_id = %(tenant_id)s AND s.key = k.key)
  AND NOT EXISTS (SELECT FROM media_assets m WHERE m.tenant_id = %(tenant_id)s AND m.sha256 = left(k.key, 64)
                    AND coalesce(m.metadata ->> 'object_key', m.sha256) = k.key)
  AND NOT EXISTS (SELECT FROM media_assets m WHERE m.tenant_id = %(tenant_id)s AND starts_with(k.key, 'variants/')
                    AND m.sha256 = substr(k.key, 10, 64)
                    AND NOT EXISTS (SELECT FROM media_processing p WHERE p.tenant_id = m.tenant_id AND p.sha256 = m.sha256
                                      AND p.made_with IS NOT NULL))
