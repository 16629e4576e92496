-- What each tenant stores by its rows, beside what its counters say; one scan of content for all of the tenants.
-- A body that waits in the spill is counted through the live row that names it, and shown. One that no live row names is
-- not counted: its writer's reservation holds its room, or it is left over from a writer that ended.
-- A stored file counts once a tenant, however many rows reference it; a row without one, with its recorded size.
WITH wanted AS (
    SELECT id, name, plan_tier, created_at FROM tenants WHERE %(tenants)s::uuid[] IS NULL OR id = ANY (%(tenants)s::uuid[])
), kinds AS (
    SELECT tenant_id, content_type AS kind, false AS media, count(*) AS items, sum(storage_size_bytes)::bigint AS bytes
    FROM content_storage_metadata
    WHERE deleted_at IS NULL AND (%(tenants)s::uuid[] IS NULL OR tenant_id = ANY (%(tenants)s::uuid[]))
    GROUP BY tenant_id, content_type
    UNION ALL
    SELECT tenant_id, 'media_' || kind, true, count(*), sum(size_bytes)::bigint
    FROM (
        SELECT tenant_id, min(kind) AS kind, max(size_bytes) AS size_bytes
        FROM media_assets
        WHERE deleted_at IS NULL AND (%(tenants)s::uuid[] IS NULL OR tenant_id = ANY (%(tenants)s::uuid[]))
        GROUP BY tenant_id, coalesce(metadata ->> 'object_key', sha256, id::text)
    ) AS files
    GROUP BY tenant_id, kind
), stored AS (
    SELECT tenant_id, sum(bytes)::bigint AS used_bytes,
           coalesce(sum(items) FILTER (WHERE NOT media), 0)::bigint AS content_items,
           coalesce(sum(items) FILTER (WHERE media), 0)::bigint AS media_files,
           coalesce(sum(bytes) FILTER (WHERE media), 0)::bigint AS media_bytes,
           jsonb_object_agg(kind, jsonb_build_object('items', items, 'bytes', bytes)) AS usage_by_type
    FROM kinds GROUP BY tenant_id
), reserved AS (
    SELECT tenant_id, sum(held_bytes)::bigint AS bytes FROM quota_reservations WHERE state = 'reserved' GROUP BY tenant_id
), spilled AS (
    SELECT s.tenant_id, coalesce(sum(s.size_bytes) FILTER (WHERE c.id IS NOT NULL), 0)::bigint AS named_bytes,
           coalesce(sum(s.size_bytes) FILTER (WHERE c.id IS NULL), 0)::bigint AS unnamed_bytes
    FROM content_body_spill s
    LEFT JOIN content_storage_metadata c
        ON c.id = s.content_id AND c.zerodb_row_id = s.zerodb_row_id AND c.deleted_at IS NULL
    GROUP BY s.tenant_id
)
SELECT w.id::text AS tenant_id, w.name, w.plan_tier AS tenant_plan_tier,
       coalesce(s.used_bytes, 0) AS used_bytes, coalesce(r.bytes, 0) AS reserved_bytes,
       coalesce(s.content_items, 0) AS content_items, coalesce(s.media_files, 0) AS media_files,
       coalesce(s.media_bytes, 0) AS media_bytes, coalesce(s.usage_by_type, '{}') AS usage_by_type,
       coalesce(p.named_bytes, 0) AS spilled_bytes, coalesce(p.unnamed_bytes, 0) AS spilled_unnamed_bytes,
       u.tenant_id IS NOT NULL AS counted, u.used_bytes AS counted_used_bytes, u.reserved_bytes AS counted_reserved_bytes,
       u.content_items AS counted_content_items, u.media_files AS counted_media_files,
       u.media_bytes AS counted_media_bytes, u.last_calculated_at
FROM wanted w
LEFT JOIN stored s ON s.tenant_id = w.id
LEFT JOIN reserved r ON r.tenant_id = w.id
LEFT JOIN spilled p ON p.tenant_id = w.id
LEFT JOIN content_quota_usage u ON u.tenant_id = w.id
ORDER BY w.created_at, w.id
