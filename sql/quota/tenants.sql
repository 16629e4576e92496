-- Every tenant, in an order that new ones only extend: a range of partitions then means the same tomorrow.
SELECT id FROM tenants ORDER BY created_at, id
