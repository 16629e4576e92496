-- Media references of a drill's world.
INSERT INTO media_assets (
    id, tenant_id, brand_id, content_id, source, kind, url, public_url, external_id, mime_type, size_bytes, sha256, status,
    zerodb_row_id, metadata, created_at, updated_at, deleted_at
)
SELECT id, tenant_id, brand_id, content_id, source, kind, url, public_url, external_id, mime_type, size_bytes, sha256, status,
       zerodb_row_id, metadata, created_at, updated_at, deleted_at
FROM jsonb_populate_recordset(NULL::media_assets, %(rows)s::jsonb)
