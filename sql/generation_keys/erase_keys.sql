-- Every key of a tenant that leaves.
DELETE FROM tenant_provider_keys WHERE tenant_id = %(tenant)s
