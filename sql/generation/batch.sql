-- A batch with its live counters; its own columns have the totals when its books are closed.
SELECT b.id AS batch_id, b.tenant_id, b.brand_id, b.user_id, b.job_type, b.content_type, b.generation_params AS params, b.priority,
       b.status, b.target_count, q.queued AS queued_count, q.running AS running_count, q.storing AS storing_count,
       q.succeeded AS succeeded_count, q.failed AS failed_count, q.cancelled AS cancelled_count,
       q.stored_bytes AS total_storage_bytes, q.cost_usd AS total_cost_usd, q.max_cost_usd, q.reservation_id, b.error_message, b.created_at, b.started_at, b.completed_at
FROM content_generation_jobs b JOIN generation_queues q ON q.id = b.id
WHERE b.id = %(batch_id)s
