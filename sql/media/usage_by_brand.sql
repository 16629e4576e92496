-- Files of each brand of a tenant by category, each stored file once in a brand, beside the brand's counter and limits.
-- Graphics are drawings and animations: vector formats, layered designs, GIF. Sound is a document, as the rows have it.
WITH files AS (
    SELECT brand_id, max(size_bytes) AS bytes,
           min(CASE WHEN mime_type IN ('image/svg+xml', 'image/gif', 'application/postscript', 'image/vnd.adobe.photoshop')
                    THEN 'graphics'
                    WHEN kind = 'image' THEN 'images' WHEN kind = 'video' THEN 'videos' ELSE 'documents' END) AS category
    FROM media_assets
    WHERE tenant_id = %(tenant_id)s AND deleted_at IS NULL
    GROUP BY brand_id, coalesce(metadata ->> 'object_key', sha256, id::text)
), sums AS (
    SELECT brand_id, category, count(*) AS files, sum(bytes)::bigint AS bytes FROM files GROUP BY brand_id, category
), brands_seen AS (
    SELECT brand_id FROM sums UNION SELECT brand_id FROM storage_quotas WHERE tenant_id = %(tenant_id)s
)
SELECT b.brand_id, s.category, coalesce(s.files, 0) AS files, coalesce(s.bytes, 0) AS bytes,
       coalesce(q.used_bytes, u.used_bytes) AS used_bytes, coalesce(q.limit_bytes, u.limit_bytes) AS limit_bytes,
       coalesce(q.warning_threshold_percent, 80) AS warning_percent, coalesce(q.critical_threshold_percent, 95) AS critical_percent
FROM brands_seen b
LEFT JOIN sums s ON s.brand_id IS NOT DISTINCT FROM b.brand_id
LEFT JOIN storage_quotas q ON q.brand_id = b.brand_id
LEFT JOIN content_quota_usage u ON u.tenant_id = %(tenant_id)s AND b.brand_id IS NULL
ORDER BY b.brand_id NULLS LAST, s.category
