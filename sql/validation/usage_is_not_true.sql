-- Good is no row: each one is a tenant whose counters are not what its rows add up to. Then: materialize storage_usage for it.
WITH content AS (
    SELECT tenant_id, count(*) AS items, sum(storage_size_bytes)::bigint AS bytes
    FROM content_storage_metadata WHERE deleted_at IS NULL GROUP BY tenant_id
), media AS (
    SELECT tenant_id, count(*) AS files, sum(size_bytes)::bigint AS bytes
    FROM (
        SELECT tenant_id, max(size_bytes) AS size_bytes FROM media_assets WHERE deleted_at IS NULL
        GROUP BY tenant_id, coalesce(metadata ->> 'object_key', sha256, id::text)
    ) AS files
    GROUP BY tenant_id
)
SELECT t.id AS tenant_id, u.used_bytes AS counted_bytes, coalesce(c.bytes, 0) + coalesce(m.bytes, 0) AS stored_bytes,
       u.content_items AS counted_items, coalesce(c.items, 0) AS stored_items
FROM tenants t
LEFT JOIN content c ON c.tenant_id = t.id
LEFT JOIN media m ON m.tenant_id = t.id
LEFT JOIN content_quota_usage u ON u.tenant_id = t.id
WHERE (u.used_bytes, u.content_items) IS DISTINCT FROM (coalesce(c.bytes, 0) + coalesce(m.bytes, 0), coalesce(c.items, 0))
ORDER BY t.id
