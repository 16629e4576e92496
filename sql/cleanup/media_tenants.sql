-- Tenants with the row of a deleted file past their plan, by id: a probe of the index a tenant.
SELECT t.id AS tenant_id FROM tenants t
WHERE (%(after)s::uuid IS NULL OR t.id > %(after)s)
  AND EXISTS (SELECT FROM media_assets i
              WHERE i.tenant_id = t.id AND i.deleted_at <= clock_timestamp() - make_interval(
                  days => (%(kept_days)s::jsonb ->> coalesce(t.plan_tier, 'free'))::integer))
ORDER BY t.id LIMIT %(limit)s
