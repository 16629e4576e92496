-- Version records in one statement. The id is derived from item and version, so a repeated write is the same record.
INSERT INTO content_versions (
    id, content_id, tenant_id, version, zerodb_row_id, body_sha256, storage_size_bytes, changed_by, change_reason, patch, created_at
)
SELECT n.id, n.content_id, n.tenant_id, n.version, n.zerodb_row_id, n.body_sha256, n.size_bytes, n.changed_by, n.change_reason,
       jsonb_build_object('operations', n.operations::jsonb), coalesce(n.created_at::timestamptz, now())
FROM unnest(
    %(id)s::uuid[], %(content_id)s::uuid[], %(tenant_id)s::uuid[], %(version)s::int[], %(zerodb_row_id)s::text[],
    %(body_sha256)s::text[], %(size_bytes)s::bigint[], %(changed_by)s::text[], %(change_reason)s::text[], %(operations)s::text[],
    %(created_at)s::text[]
) AS n (
    id, content_id, tenant_id, version, zerodb_row_id, body_sha256, size_bytes, changed_by, change_reason, operations, created_at
)
ON CONFLICT (content_id, version) DO NOTHING
