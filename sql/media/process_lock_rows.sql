-- The live rows that name a stored file, locked in order of id until their description is committed.
SELECT id, metadata FROM media_assets
WHERE tenant_id = %(tenant_id)s AND sha256 = %(sha256)s AND status IN ('stored', 'failed') AND deleted_at IS NULL
ORDER BY id
FOR UPDATE
