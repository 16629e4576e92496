-- Leases that have expired and that nobody has reaped yet; seconds since the oldest did.
SELECT count(*) AS expired_leases, coalesce(max(extract(epoch FROM clock_timestamp() - lease_expires_at)), 0)::float8 AS longest_expired_seconds
FROM generation_jobs
WHERE status IN ('running', 'storing') AND lease_expires_at <= clock_timestamp() AND (%(tenant_id)s::uuid IS NULL OR tenant_id = %(tenant_id)s::uuid)
