-- What the calls of the last day cost, by provider.
SELECT provider, sum(cost_usd) AS cost_usd, count(*) AS calls
FROM generation_attempts
WHERE started_at > clock_timestamp() - interval '24 hours' AND (%(tenant_id)s::uuid IS NULL OR tenant_id = %(tenant_id)s::uuid)
GROUP BY provider ORDER BY provider
