-- Items in one statement, so that the change log is written once. A source becomes an item once, whoever runs.
INSERT INTO content_storage_metadata (
    id, tenant_id, brand_id, campaign_space_id, user_id, title, content_type, status, zerodb_row_id, body_sha256,
    storage_size_bytes, version, source, metadata, created_at, updated_at, deleted_at
)
SELECT n.id, n.tenant_id, n.brand_id, n.campaign_space_id, n.user_id, n.title, n.content_type, n.status, n.zerodb_row_id,
       n.body_sha256, n.size_bytes, 1, n.source, n.metadata_base::jsonb || n.metadata_extra::jsonb,
       coalesce(n.created_at::timestamptz, now()), coalesce(n.updated_at::timestamptz, now()), n.deleted_at::timestamptz
FROM unnest(
    %(id)s::uuid[], %(tenant_id)s::uuid[], %(brand_id)s::uuid[], %(campaign_space_id)s::uuid[], %(user_id)s::uuid[],
    %(title)s::text[], %(content_type)s::text[], %(status)s::text[], %(zerodb_row_id)s::text[], %(body_sha256)s::text[],
    %(size_bytes)s::bigint[], %(source)s::text[], %(metadata_base)s::text[], %(metadata_extra)s::text[],
    %(created_at)s::text[], %(updated_at)s::text[], %(deleted_at)s::text[]
) AS n (
    id, tenant_id, brand_id, campaign_space_id, user_id, title, content_type, status, zerodb_row_id, body_sha256, size_bytes,
    source, metadata_base, metadata_extra, created_at, updated_at, deleted_at
)
ON CONFLICT (source) DO NOTHING
