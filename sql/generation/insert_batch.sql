-- The key is taken first: of two that submit the same at once one waits here, and then finds the other's batch.
INSERT INTO content_generation_jobs (
    id, tenant_id, brand_id, user_id, job_type, content_type, target_count, generation_params, priority, idempotency_key)
VALUES (
    %(batch_id)s, %(tenant_id)s, %(brand_id)s, %(user_id)s, %(job_type)s, %(content_type)s, %(items)s, %(params)s::jsonb, %(priority)s,
    %(idempotency_key)s)
ON CONFLICT (tenant_id, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
RETURNING id
