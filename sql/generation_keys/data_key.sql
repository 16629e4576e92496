-- The newest data key of a tenant, wrapped.
SELECT version, master_key_id, wrapped FROM tenant_data_keys WHERE tenant_id = %(tenant)s ORDER BY version DESC LIMIT 1
