-- Which of these ids the platform has no tenant for.
SELECT wanted.id FROM unnest(%(ids)s::uuid[]) AS wanted (id)
WHERE NOT EXISTS (SELECT FROM tenants t WHERE t.id = wanted.id) ORDER BY wanted.id
