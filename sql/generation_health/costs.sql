-- What provider calls of this month (UTC) cost, by tenant and provider, the dearest first.
SELECT a.tenant_id, t.name AS tenant, a.provider, count(*)::bigint AS calls, sum(a.input_tokens)::bigint AS input_tokens,
       sum(a.output_tokens)::bigint AS output_tokens, sum(a.cost_usd) AS cost_usd
FROM (
    SELECT tenant_id, provider, input_tokens, output_tokens, cost_usd FROM generation_attempts
    WHERE started_at >= quota_month()::timestamp AT TIME ZONE 'UTC'
    UNION ALL
    SELECT tenant_id, provider, input_tokens, output_tokens, cost_usd FROM generation_attempts_history
    WHERE started_at >= quota_month()::timestamp AT TIME ZONE 'UTC'
) AS a
LEFT JOIN tenants t ON t.id = a.tenant_id
GROUP BY a.tenant_id, t.name, a.provider
ORDER BY cost_usd DESC, calls DESC, a.tenant_id, a.provider
