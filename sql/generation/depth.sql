-- From the queues' counters: it costs the same however much is queued. The wait is that of each queue's next item.
SELECT coalesce(sum(q.queued), 0)::bigint AS queued, coalesce(sum(q.running), 0)::bigint AS running,
       coalesce(sum(q.storing), 0)::bigint AS storing,
       count(*) FILTER (WHERE q.batch_id IS NOT NULL) AS open_batches,
       coalesce(max(extract(epoch FROM clock_timestamp() - next.run_after)), 0)::float8 AS oldest_wait_seconds
FROM generation_queues q
LEFT JOIN LATERAL (
    SELECT j.run_after FROM generation_jobs j
    WHERE j.queue_id = q.id AND j.completed_at IS NULL AND j.status = 'queued' AND j.run_after <= clock_timestamp()
    ORDER BY j.priority DESC, j.run_after, j.id LIMIT 1
) AS next ON true
WHERE q.open AND (%(tenant_id)s::uuid IS NULL OR q.tenant_id = %(tenant_id)s::uuid)
