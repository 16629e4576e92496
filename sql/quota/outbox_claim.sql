-- Takes one due row of an outbox under a lease: SKIP LOCKED, so that deliverers never wait for each other; the token fences.
WITH due AS MATERIALIZED (
    SELECT id FROM {outbox}
    WHERE delivered_at IS NULL AND suppressed IS NULL AND next_attempt_at <= clock_timestamp()
      AND (claimed_until IS NULL OR claimed_until <= clock_timestamp())
    ORDER BY next_attempt_at, id
    LIMIT 1
    FOR UPDATE SKIP LOCKED
)
UPDATE {outbox} n
SET claim_token = n.claim_token + 1, attempts = n.attempts + 1,
    claimed_until = clock_timestamp() + %(lease_seconds)s * interval '1 second'
FROM due
WHERE n.id = due.id
RETURNING n.*
