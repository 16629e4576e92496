-- All that is sealed under data keys of a tenant, to be sealed anew.
SELECT k.provider, k.version, k.data_key_version, k.sealed, d.master_key_id, d.wrapped
FROM tenant_provider_keys k JOIN tenant_data_keys d ON d.tenant_id = k.tenant_id AND d.version = k.data_key_version
WHERE k.tenant_id = %(tenant)s ORDER BY k.provider, k.version
