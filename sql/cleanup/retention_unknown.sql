-- Deleted items that some plan would not keep, of tenants that are gone or have a plan that nobody knows: kept, and told.
SELECT CASE WHEN t.id IS NULL THEN 'unknown_tenant' ELSE 'unknown_plan' END AS reason, count(*) AS items
FROM (SELECT tenant_id FROM content_storage_metadata
      WHERE deleted_at <= clock_timestamp() - make_interval(days => %(least_days)s) LIMIT %(most)s) AS i
LEFT JOIN tenants t ON t.id = i.tenant_id
WHERE t.id IS NULL OR NOT %(kept_days)s::jsonb ? coalesce(t.plan_tier, 'free')
GROUP BY 1
