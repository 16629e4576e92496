-- Refusals of the ledger today, the tenants with most of them first, with what they asked room in.
SELECT r.tenant_id::text AS tenant_id, coalesce(t.name, r.tenant_id::text) AS tenant, sum(r.rejections)::bigint AS rejections,
       string_agg(r.scope || ' ' || r.rejections, ', ' ORDER BY r.rejections DESC, r.scope) AS scopes
FROM quota_rejections r LEFT JOIN tenants t ON t.id = r.tenant_id
WHERE r.day = (clock_timestamp() AT TIME ZONE 'UTC')::date
GROUP BY r.tenant_id, t.name
ORDER BY rejections DESC, r.tenant_id
LIMIT %(most)s
