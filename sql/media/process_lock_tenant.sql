-- Two pictures that look the same are described one after the other, so that the second one sees the first.
SELECT pg_advisory_xact_lock(hashtextextended('media_look:' || %(tenant_id)s::text, 0))
