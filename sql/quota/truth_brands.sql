-- What each brand stores by its rows, beside what its counter says. A brand has a counter once it stores something.
-- A stored file counts once in each brand that references it, however many of its rows do.
WITH stored AS (
    SELECT tenant_id, brand_id, sum(bytes)::bigint AS bytes
    FROM (
        SELECT tenant_id, brand_id, sum(storage_size_bytes) AS bytes
        FROM content_storage_metadata
        WHERE deleted_at IS NULL AND brand_id IS NOT NULL
          AND (%(tenants)s::uuid[] IS NULL OR tenant_id = ANY (%(tenants)s::uuid[]))
        GROUP BY tenant_id, brand_id
        UNION ALL
        SELECT tenant_id, brand_id, sum(size_bytes)
        FROM (
            SELECT tenant_id, brand_id, max(size_bytes) AS size_bytes
            FROM media_assets
            WHERE deleted_at IS NULL AND brand_id IS NOT NULL
              AND (%(tenants)s::uuid[] IS NULL OR tenant_id = ANY (%(tenants)s::uuid[]))
            GROUP BY tenant_id, brand_id, coalesce(metadata ->> 'object_key', sha256, id::text)
        ) AS files
        GROUP BY tenant_id, brand_id
    ) AS parts
    GROUP BY tenant_id, brand_id
), reserved AS (
    SELECT tenant_id, brand_id, sum(held_bytes)::bigint AS bytes
    FROM quota_reservations WHERE state = 'reserved' AND brand_id IS NOT NULL GROUP BY tenant_id, brand_id
), known AS (
    SELECT tenant_id, brand_id, true AS counted FROM storage_quotas
    UNION ALL
    SELECT b.tenant_id, b.id, false FROM brands b JOIN stored s ON s.tenant_id = b.tenant_id AND s.brand_id = b.id
    WHERE NOT EXISTS (SELECT FROM storage_quotas q WHERE q.brand_id = b.id)
)
SELECT k.tenant_id::text AS tenant_id, k.brand_id::text AS brand_id, k.counted,
       coalesce(s.bytes, 0) AS used_bytes, coalesce(r.bytes, 0) AS reserved_bytes,
       q.used_bytes AS counted_used_bytes, q.reserved_bytes AS counted_reserved_bytes
FROM known k
LEFT JOIN stored s ON s.tenant_id = k.tenant_id AND s.brand_id = k.brand_id
LEFT JOIN reserved r ON r.tenant_id = k.tenant_id AND r.brand_id = k.brand_id
LEFT JOIN storage_quotas q ON q.brand_id = k.brand_id
WHERE %(tenants)s::uuid[] IS NULL OR k.tenant_id = ANY (%(tenants)s::uuid[])
ORDER BY k.brand_id
