-- Any tenant, to try the bucket of one.
SELECT id FROM tenants ORDER BY created_at LIMIT 1
