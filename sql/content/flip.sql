-- The pointer moves to the next version, if nobody moved it first.
UPDATE content_storage_metadata
SET title = %(title)s, content_type = %(content_type)s, status = %(status)s, zerodb_row_id = %(zerodb_row_id)s,
    body_sha256 = %(body_sha256)s, storage_size_bytes = %(size_bytes)s, version = %(version)s,
    metadata = coalesce(%(metadata)s::jsonb, metadata), updated_at = greatest(clock_timestamp(), updated_at)
WHERE id = %(id)s AND tenant_id = %(tenant_id)s AND version = %(expected)s AND deleted_at IS NULL
RETURNING *
