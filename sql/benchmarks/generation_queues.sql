-- What a claim looks at, for the batches above.
INSERT INTO generation_queues (id, tenant_id, batch_id, queued)
SELECT id, tenant_id, id, target_count FROM content_generation_jobs WHERE tenant_id = %(tenant_id)s
