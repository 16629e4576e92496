-- Tenants with queued rows of the older shape. Rows whose tenant nobody knows (the nil UUID) have no owner of what they would make.
SELECT q.tenant_id FROM generation_queues q
WHERE q.batch_id IS NULL AND q.open AND q.queued > 0 AND q.tenant_id IN (SELECT id FROM tenants)
ORDER BY q.created_at, q.id LIMIT %(most)s
