-- Tenants and brands above their limit, the furthest first. lowered: the limit came down to them, they did not grow over it.
SELECT o.tenant_id::text AS tenant_id, t.name AS tenant, o.brand_id::text AS brand_id, o.plan_tier, o.used_bytes, o.limit_bytes,
       o.used_bytes - o.limit_bytes AS over_bytes,
       coalesce((SELECT n.cause = 'limit' FROM quota_notices n
                 WHERE n.tenant_id = o.tenant_id AND coalesce(n.brand_id, n.tenant_id) = coalesce(o.brand_id, o.tenant_id)
                 ORDER BY n.id DESC LIMIT 1), false) AS lowered
FROM (
    SELECT tenant_id, NULL::uuid AS brand_id, plan_tier, used_bytes, limit_bytes FROM content_quota_usage
    UNION ALL
    SELECT tenant_id, brand_id, NULL, used_bytes, limit_bytes FROM storage_quotas
) AS o
LEFT JOIN tenants t ON t.id = o.tenant_id
WHERE o.used_bytes > o.limit_bytes
ORDER BY over_bytes DESC, o.tenant_id, o.brand_id
