-- The connection's own role again, and no tenant: for a statement between a tenant's that is not the tenant's to make.
SELECT set_config('role', 'none', true), set_config('app.tenant_id', '', true)
