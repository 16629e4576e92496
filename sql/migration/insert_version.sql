-- The record of the first version. Its id is derived, so a repeated batch writes the same record.
INSERT INTO content_versions (
    id, content_id, tenant_id, version, zerodb_row_id, body_sha256, storage_size_bytes, changed_by, change_reason, created_at
) VALUES (
    %(version_id)s, %(id)s, %(tenant_id)s, 1, %(zerodb_row_id)s, %(body_sha256)s, %(size_bytes)s, 'migration',
    'migrated from ' || %(source)s, %(created_at)s::timestamptz
)
ON CONFLICT (content_id, version) DO NOTHING
