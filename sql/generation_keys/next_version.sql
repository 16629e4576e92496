-- Above every version that there ever was, revoked ones included.
SELECT coalesce(max(version), 0) + 1 AS version FROM tenant_provider_keys WHERE tenant_id = %(tenant)s AND provider = %(provider)s
