-- A longer life by the database's clock, never a shorter one; a reservation that has ended stays ended. One row always.
WITH renewed AS (
    UPDATE quota_reservations
    SET expires_at = CASE WHEN state = 'reserved' THEN greatest(expires_at, clock_timestamp() + %(ttl)s) ELSE expires_at END
    WHERE id = %(reservation_id)s
    RETURNING state
)
SELECT coalesce((SELECT state FROM renewed), 'unknown') AS outcome
