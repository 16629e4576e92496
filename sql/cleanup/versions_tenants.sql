-- Tenants with a version older than their plan keeps, by id. Whether another one followed it in time is asked an item.
SELECT t.id AS tenant_id FROM tenants t
WHERE (%(after)s::uuid IS NULL OR t.id > %(after)s)
  AND EXISTS (SELECT FROM content_versions v
              WHERE v.tenant_id = t.id AND v.version > 1 AND v.created_at <= clock_timestamp() - make_interval(
                  days => (%(kept_days)s::jsonb ->> coalesce(t.plan_tier, 'free'))::integer))
ORDER BY t.id LIMIT %(limit)s
