-- Items of a drill's world, all of a group in one statement.
INSERT INTO content_storage_metadata (
    id, tenant_id, brand_id, campaign_space_id, user_id, title, content_type, status, zerodb_row_id, body_sha256,
    storage_size_bytes, version, source, metadata, created_at, updated_at, deleted_at
)
SELECT id, tenant_id, brand_id, campaign_space_id, user_id, title, content_type, status, zerodb_row_id, body_sha256,
       storage_size_bytes, version, source, metadata, created_at, updated_at, deleted_at
FROM jsonb_populate_recordset(NULL::content_storage_metadata, %(rows)s::jsonb)
