-- The fullest tenants by their counters, in percent of the limit; those without a limit have no share.
SELECT u.tenant_id::text AS tenant_id, coalesce(t.name, u.tenant_id::text) AS tenant, u.plan_tier,
       CASE WHEN u.limit_bytes = 0 THEN CASE WHEN u.used_bytes > 0 THEN 100 ELSE 0 END
            ELSE 100.0 * u.used_bytes / u.limit_bytes END::float8 AS percent,
       count(*) FILTER (WHERE u.used_bytes::numeric * 100 > %(percent)s::numeric * u.limit_bytes::numeric) OVER () AS near
FROM content_quota_usage u LEFT JOIN tenants t ON t.id = u.tenant_id
WHERE u.limit_bytes IS NOT NULL
ORDER BY percent DESC, u.tenant_id
LIMIT %(most)s
