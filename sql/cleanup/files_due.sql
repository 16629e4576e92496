-- Superseded files past the grace period, the oldest first.
SELECT tenant_id, key, bytes, superseded_at FROM media_superseded
WHERE superseded_at <= clock_timestamp() - %(grace)s::interval
  AND (%(after)s::timestamptz IS NULL OR (superseded_at, tenant_id, key) > (%(after)s::timestamptz, %(after_tenant)s::uuid, %(after_key)s))
ORDER BY superseded_at, tenant_id, key LIMIT %(limit)s
