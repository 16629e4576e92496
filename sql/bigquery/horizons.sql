-- The tenants of a scope whose history was compacted beyond a sync, the latest horizon first.
SELECT tenant_id, MAX(sync_id) AS horizon, MAX(earliest_at) AS earliest_at FROM `{table}`
WHERE @scope = 'everything' OR tenant_id IN UNNEST(@tenants)
GROUP BY tenant_id HAVING MAX(sync_id) > @sync_id ORDER BY horizon DESC, tenant_id
