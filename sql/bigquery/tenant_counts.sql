-- Current rows of each tenant.
SELECT tenant_id, COUNT(*) AS present FROM `{table}`
GROUP BY tenant_id
