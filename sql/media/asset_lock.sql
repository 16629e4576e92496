-- The row that is about to reference a file, locked until the transaction ends.
SELECT id, tenant_id, brand_id, size_bytes, sha256, coalesce(metadata ->> 'object_key', sha256) AS object_key
FROM media_assets WHERE id = %(id)s AND deleted_at IS NULL FOR UPDATE
