-- Leases that nobody has reaped although they ended: how many, and seconds since the oldest did.
SELECT count(*) AS leases, coalesce(max(extract(epoch FROM clock_timestamp() - lease_expires_at)), 0)::float8 AS oldest_seconds
FROM generation_jobs
WHERE status IN ('running', 'storing') AND lease_expires_at <= clock_timestamp()
