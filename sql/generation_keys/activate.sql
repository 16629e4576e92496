-- A waiting or retired key is put in use.
UPDATE tenant_provider_keys SET state = 'active', activated_at = now(), ended_at = NULL
WHERE tenant_id = %(tenant)s AND provider = %(provider)s AND version = %(version)s AND state <> 'revoked'
