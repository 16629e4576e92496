-- References of a tenant that nobody asked for are asked for: their files will be fetched. Oldest first.
INSERT INTO media_ingest (asset_id, tenant_id)
SELECT m.id, m.tenant_id FROM media_assets m
WHERE m.tenant_id = %(tenant_id)s AND m.status = 'referenced' AND m.sha256 IS NULL AND m.deleted_at IS NULL
  AND NOT EXISTS (SELECT FROM media_ingest i WHERE i.asset_id = m.id)
ORDER BY m.created_at, m.id
LIMIT %(most)s
ON CONFLICT (asset_id) DO NOTHING
