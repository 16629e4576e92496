-- Rows that say that their file is stored while no object is known, as after a restore: to be looked for and adopted.
SELECT m.id FROM media_assets m
WHERE m.tenant_id = %(tenant_id)s AND m.status = 'stored' AND m.sha256 IS NOT NULL AND m.deleted_at IS NULL
  AND NOT EXISTS (SELECT FROM media_objects o
                  WHERE o.tenant_id = m.tenant_id AND o.key = coalesce(m.metadata ->> 'object_key', m.sha256))
ORDER BY m.created_at, m.id
LIMIT %(most)s
