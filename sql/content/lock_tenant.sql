-- Many items of a tenant are created from sources: one lock in place of one an item. Updates do not wait for it.
SELECT pg_advisory_xact_lock(hashtextextended('content of tenant:' || %(tenant_id)s, 0))
