-- Leases that nobody has reaped although they ended: how many, and seconds since the oldest did.
SELECT count(*) AS leases, coalesce(max(extract(epoch FROM clock_timestamp() - j.lease_expires_at)), 0)::float8 AS oldest_seconds
FROM generation_queues q
CROSS JOIN LATERAL (
    -- A queue's counters say how many are held, and they lie at its head.
    SELECT h.lease_expires_at FROM generation_jobs h
    WHERE h.queue_id = q.id AND h.completed_at IS NULL AND h.status IN ('running', 'storing')
    ORDER BY h.priority DESC, h.run_after, h.id LIMIT q.running + q.storing
) AS j
WHERE q.open AND q.running + q.storing > 0 AND j.lease_expires_at <= clock_timestamp()
