-- Tenants whose counters carry another plan or limit than the platform's plan of today; an unknown plan means free.
SELECT t.id AS tenant_id
FROM tenants t
JOIN content_quota_usage u ON u.tenant_id = t.id
CROSS JOIN LATERAL (SELECT CASE WHEN %(plans)s::jsonb ? t.plan_tier THEN t.plan_tier ELSE 'free' END AS tier) AS p
WHERE (u.plan_tier, u.limit_bytes) IS DISTINCT FROM (p.tier, (%(plans)s::jsonb #>> ARRAY[p.tier, 'bytes'])::bigint)
ORDER BY t.id
