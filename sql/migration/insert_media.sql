-- A file that a legacy row names: reference and recorded size, nothing downloaded.
INSERT INTO media_assets (
    id, tenant_id, brand_id, content_id, source, kind, url, public_url, external_id, mime_type, size_bytes, zerodb_row_id,
    metadata, created_at, updated_at, deleted_at
) VALUES (
    %(id)s, %(tenant_id)s, %(brand_id)s, %(content_id)s, %(source)s, %(kind)s, %(url)s, %(public_url)s, %(external_id)s,
    %(mime_type)s, %(size_bytes)s, %(id)s::text, jsonb_build_object('position', %(position)s::int), %(created_at)s::timestamptz,
    %(updated_at)s::timestamptz, %(deleted_at)s::timestamptz
)
ON CONFLICT (source) DO NOTHING
