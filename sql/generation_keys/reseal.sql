-- A key under another data key of its tenant.
UPDATE tenant_provider_keys SET sealed = %(sealed)s, data_key_version = %(data_key_version)s
WHERE tenant_id = %(tenant)s AND provider = %(provider)s AND version = %(version)s
