-- Batches whose books are open, tenants in turn: what is held, by living and by dead workers, and how long the next item waits.
SELECT q.id AS batch_id, q.tenant_id, q.priority::integer AS priority, q.queued, q.running, q.storing,
       q.succeeded + q.failed + q.cancelled AS ended,
       held.live, held.expired, next.waiting_seconds, (q.queued = 0 AND held.live + held.expired = 0) AS is_over,
       extract(epoch FROM clock_timestamp() - q.created_at)::float8 AS age_seconds
FROM generation_queues q
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE j.lease_expires_at > clock_timestamp())::integer AS live,
           count(*) FILTER (WHERE j.lease_expires_at <= clock_timestamp())::integer AS expired
    FROM (SELECT h.lease_expires_at FROM generation_jobs h
          WHERE h.queue_id = q.id AND h.completed_at IS NULL AND h.status IN ('running', 'storing')
          ORDER BY h.priority DESC, h.run_after, h.id LIMIT q.running + q.storing) AS j
) AS held
LEFT JOIN LATERAL (
    SELECT extract(epoch FROM clock_timestamp() - j.run_after)::float8 AS waiting_seconds FROM generation_jobs j
    WHERE j.queue_id = q.id AND j.completed_at IS NULL AND j.status = 'queued' AND j.run_after <= clock_timestamp()
    ORDER BY j.priority DESC, j.run_after, j.id LIMIT 1
) AS next ON true
WHERE q.batch_id IS NOT NULL AND q.settled_at IS NULL
ORDER BY q.priority DESC, row_number() OVER (PARTITION BY q.tenant_id ORDER BY q.priority DESC, q.created_at), q.created_at
LIMIT %(most)s
