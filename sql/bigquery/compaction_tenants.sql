-- The tenants of whom anything is removed: the earliest moment moves for them and for nobody else.
SELECT DISTINCT tenant_id FROM `{table}`
