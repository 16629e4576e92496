-- One item. The source is unique: a legacy row becomes an item once, whoever runs.
INSERT INTO content_storage_metadata (
    id, tenant_id, brand_id, campaign_space_id, user_id, title, content_type, status, zerodb_row_id, body_sha256,
    storage_size_bytes, version, source, metadata, created_at, updated_at, deleted_at
) VALUES (
    %(id)s, %(tenant_id)s, %(brand_id)s, %(campaign_space_id)s, %(user_id)s, %(title)s, %(content_type)s, %(status)s,
    %(zerodb_row_id)s, %(body_sha256)s, %(size_bytes)s, 1, %(source)s, %(metadata_base)s::jsonb || %(metadata_extra)s::jsonb,
    %(created_at)s::timestamptz, %(updated_at)s::timestamptz, %(deleted_at)s::timestamptz
)
ON CONFLICT (source) DO NOTHING
