-- Version records of a drill's world.
INSERT INTO content_versions (
    id, content_id, tenant_id, version, zerodb_row_id, body_sha256, storage_size_bytes, changed_by, change_reason, patch, created_at
)
SELECT id, content_id, tenant_id, version, zerodb_row_id, body_sha256, storage_size_bytes, changed_by, change_reason, patch, created_at
FROM jsonb_populate_recordset(NULL::content_versions, %(rows)s::jsonb)
