-- Tenants whose counters are missing or not what is stored.
WITH content AS (
    SELECT tenant_id, count(*) AS items, sum(storage_size_bytes)::bigint AS bytes
    FROM content_storage_metadata WHERE deleted_at IS NULL GROUP BY tenant_id
), media AS (
    SELECT tenant_id, count(*) AS files, sum(size_bytes)::bigint AS bytes
    FROM media_assets WHERE deleted_at IS NULL GROUP BY tenant_id
)
SELECT t.id::text AS tenant_id, u.used_bytes AS counted_bytes,
       coalesce(c.bytes, 0) + coalesce(m.bytes, 0) AS stored_bytes
FROM tenants t
LEFT JOIN content c ON c.tenant_id = t.id
LEFT JOIN media m ON m.tenant_id = t.id
LEFT JOIN content_quota_usage u ON u.tenant_id = t.id
WHERE (u.used_bytes, u.content_items, u.media_files, u.media_bytes) IS DISTINCT FROM
      (coalesce(c.bytes, 0) + coalesce(m.bytes, 0), coalesce(c.items, 0), coalesce(m.files, 0), coalesce(m.bytes, 0))
ORDER BY t.id
LIMIT 20
