-- Back for readers, as it was.
UPDATE content_storage_metadata SET deleted_at = NULL, updated_at = greatest(clock_timestamp(), updated_at)
WHERE id = %(id)s AND tenant_id = %(tenant_id)s AND deleted_at IS NOT NULL
RETURNING *
