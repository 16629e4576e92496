-- The ciphertext goes and the row stays, so that its version is not given again.
UPDATE tenant_provider_keys SET state = 'revoked', ended_at = now(), sealed = NULL, data_key_version = NULL
WHERE tenant_id = %(tenant)s AND provider = %(provider)s AND version = %(version)s AND state <> 'revoked'
