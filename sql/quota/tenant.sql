-- Name and plan of a tenant as the platform has them.
SELECT name, plan_tier FROM tenants WHERE id = %(tenant_id)s
