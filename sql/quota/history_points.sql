-- The last 30 days of every tenant that is still there, at most 61 points each, evenly spread, the newest among them.
WITH numbered AS (
    SELECT tenant_id, recorded_at, used_bytes,
           row_number() OVER newest_first - 1 AS age, count(*) OVER (PARTITION BY tenant_id) AS points
    FROM usage_history WHERE recorded_at > clock_timestamp() - interval '30 days'
    WINDOW newest_first AS (PARTITION BY tenant_id ORDER BY recorded_at DESC)
), thinned AS (
    SELECT tenant_id, array_agg(recorded_at ORDER BY recorded_at) AS recorded_at,
           array_agg(used_bytes ORDER BY recorded_at) AS used_bytes
    FROM numbered WHERE age %% ((points + 59) / 60) = 0
    GROUP BY tenant_id
)
SELECT u.tenant_id::text AS tenant_id, t.name, u.plan_tier, u.limit_bytes, u.used_bytes AS used_now,
       coalesce(p.recorded_at, '{}') AS recorded_at, coalesce(p.used_bytes, '{}') AS used_bytes
FROM content_quota_usage u
JOIN tenants t ON t.id = u.tenant_id
LEFT JOIN thinned p ON p.tenant_id = u.tenant_id
ORDER BY u.used_bytes DESC, u.tenant_id
