-- A stray among the files that wait to be removed: whoever makes or names it meanwhile keeps it. Repeats that nothing names it.
INSERT INTO media_superseded (tenant_id, key, sha256, bytes)
SELECT %(tenant_id)s, %(key)s, %(sha256)s, %(size_bytes)s
WHERE NOT EXISTS (SELECT FROM media_objects o WHERE o.tenant_id = %(tenant_id)s AND o.key = %(key)s)
  AND NOT EXISTS (SELECT FROM media_variants v WHERE v.tenant_id = %(tenant_id)s AND v.key = %(key)s)
ON CONFLICT (tenant_id, key) DO NOTHING
