-- A tenant's counters, this month's generation and its brands, in one snapshot.
SELECT t.name, t.plan_tier AS platform_plan, u.plan_tier, u.limit_bytes, u.used_bytes, u.reserved_bytes, u.content_items,
       u.media_files, u.media_bytes, u.usage_by_type, u.notified_percent, u.last_calculated_at, u.tenant_id IS NOT NULL AS counted,
       coalesce(g.used_items, 0) AS generated_items, coalesce(g.reserved_items, 0) AS generated_reserved,
       (SELECT coalesce(jsonb_agg(jsonb_build_object(
                    'brand_id', s.brand_id, 'limit_bytes', s.limit_bytes, 'used_bytes', s.used_bytes,
                    'reserved_bytes', s.reserved_bytes) ORDER BY s.brand_id), '[]')
        FROM storage_quotas s WHERE s.tenant_id = t.id) AS brands
FROM tenants t
LEFT JOIN content_quota_usage u ON u.tenant_id = t.id
LEFT JOIN quota_generation_usage g ON g.tenant_id = t.id AND g.month = quota_month()
WHERE t.id = %(tenant_id)s
