-- The key in use makes room; it stays readable, so that it can be taken back.
UPDATE tenant_provider_keys SET state = 'retired', ended_at = now()
WHERE tenant_id = %(tenant)s AND provider = %(provider)s AND state = 'active' AND version <> %(version)s
