-- Used bytes of each plan, a point an hour while the history is young, a point a day (its last hour) after that.
WITH span AS (
    SELECT CASE WHEN max(recorded_at) - min(recorded_at) < interval '2 days' THEN 'hour' ELSE 'day' END AS step
    FROM usage_history WHERE recorded_at > clock_timestamp() - interval '30 days'
), hours AS (
    SELECT plan_tier, recorded_at, count(*) AS tenants, sum(used_bytes)::bigint AS used_bytes,
           sum(limit_bytes)::bigint AS limit_bytes
    FROM usage_history WHERE recorded_at > clock_timestamp() - interval '30 days'
    GROUP BY plan_tier, recorded_at
)
SELECT DISTINCT ON (h.plan_tier, date_trunc(s.step, h.recorded_at, 'UTC'))
       h.plan_tier, h.recorded_at, h.tenants, h.used_bytes, h.limit_bytes
FROM hours h CROSS JOIN span s
ORDER BY h.plan_tier, date_trunc(s.step, h.recorded_at, 'UTC'), h.recorded_at DESC
