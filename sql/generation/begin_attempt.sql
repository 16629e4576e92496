-- Before the provider is called, and only while the item is the worker's. One row, or none behind the fence.
WITH held AS (
    SELECT j.id, j.tenant_id, j.batch_id, j.queue_id, j.attempts, j.lease_token, q.max_cost_usd, q.cost_usd
    FROM generation_jobs j JOIN generation_queues q ON q.id = j.queue_id
    WHERE j.id = %(id)s AND j.lease_token = %(token)s AND j.status = 'running'
), made AS (
    INSERT INTO generation_attempts (tenant_id, batch_id, queue_id, job_id, attempt, lease_token, provider, model)
    SELECT tenant_id, batch_id, queue_id, id, attempts, lease_token, %(provider)s, %(model)s FROM held
    WHERE max_cost_usd IS NULL OR cost_usd = 0 OR cost_usd < max_cost_usd
    RETURNING id
)
SELECT (SELECT id FROM made) AS attempt_id, held.max_cost_usd, held.cost_usd FROM held
