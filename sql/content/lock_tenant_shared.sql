-- Few items of a tenant are created or purged: others may do so too, but nobody who creates many.
SELECT pg_advisory_xact_lock_shared(hashtextextended('content of tenant:' || %(tenant_id)s, 0))
