-- What was submitted under a key before.
SELECT b.id AS batch_id, b.target_count AS items, q.request_sha256
FROM content_generation_jobs b LEFT JOIN generation_queues q ON q.id = b.id
WHERE b.tenant_id = %(tenant_id)s AND b.idempotency_key = %(idempotency_key)s
