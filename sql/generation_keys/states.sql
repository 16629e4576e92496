-- Every key of a tenant and what became of it, without anything secret.
SELECT provider, version, state, created_by, created_at, activated_at, ended_at
FROM tenant_provider_keys WHERE tenant_id = %(tenant)s ORDER BY provider, version
