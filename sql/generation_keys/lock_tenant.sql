-- One writer of a tenant's keys at a time: the tenant may have no row yet that could be locked.
SELECT pg_advisory_xact_lock(hashtextextended('tenant_provider_keys:' || %(tenant)s::text, 0))
