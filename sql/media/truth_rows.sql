-- Live rows that say stored, of whose bytes no stored object is known.
SELECT a.tenant_id, a.id, a.sha256, count(*) OVER () AS found
FROM media_assets a
WHERE a.status = 'stored' AND a.deleted_at IS NULL
  AND NOT EXISTS (SELECT FROM media_objects o WHERE o.tenant_id = a.tenant_id AND o.key = coalesce(a.metadata ->> 'object_key', a.sha256))
ORDER BY a.tenant_id, a.id
LIMIT %(most)s
