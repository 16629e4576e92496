-- The key in use with the data key that it is sealed under, in one snapshot: a rotation is seen whole or not at all.
SELECT k.version, k.state, k.data_key_version, k.sealed, d.master_key_id, d.wrapped
FROM tenant_provider_keys k JOIN tenant_data_keys d ON d.tenant_id = k.tenant_id AND d.version = k.data_key_version
WHERE k.tenant_id = %(tenant)s AND k.provider = %(provider)s AND k.state = 'active'
