-- Takes one due notice under a lease: SKIP LOCKED, so that deliverers never wait for each other; the token fences.
WITH due AS MATERIALIZED (
    SELECT id FROM quota_notices
    WHERE delivered_at IS NULL AND suppressed IS NULL AND next_attempt_at <= clock_timestamp()
      AND (claimed_until IS NULL OR claimed_until <= clock_timestamp())
    ORDER BY next_attempt_at, id
    LIMIT 1
    FOR UPDATE SKIP LOCKED
)
UPDATE quota_notices n
SET claim_token = n.claim_token + 1, attempts = n.attempts + 1,
    claimed_until = clock_timestamp() + %(lease_seconds)s * interval '1 second'
FROM due
WHERE n.id = due.id
RETURNING n.id, n.tenant_id::text AS tenant_id, n.brand_id::text AS brand_id, n.level, n.used_bytes, n.limit_bytes,
          n.plan_tier, n.created_at, n.attempts, n.claim_token, n.delivered_to,
          coalesce((SELECT t.name FROM tenants t WHERE t.id = n.tenant_id), n.tenant_id::text) AS tenant,
          (SELECT b.name FROM brands b WHERE b.id = n.brand_id) AS brand
