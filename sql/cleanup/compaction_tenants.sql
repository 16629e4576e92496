-- Every tenant with its plan, for the horizons of the history.
SELECT id AS tenant_id, plan_tier FROM tenants ORDER BY id
