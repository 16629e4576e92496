-- A file could not be described. Without a `wait` it has no next time; what it had before stays.
INSERT INTO media_processing AS p (tenant_id, sha256, attempts, failed_reason, retry_at)
VALUES (%(tenant_id)s, %(sha256)s, 1, %(reason)s, clock_timestamp() + %(wait)s::interval)
ON CONFLICT (tenant_id, sha256) DO UPDATE
SET attempts = p.attempts + 1, failed_reason = excluded.failed_reason, retry_at = excluded.retry_at, updated_at = clock_timestamp()
