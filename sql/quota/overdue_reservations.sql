-- Reservations that still hold room after their expiry: how many, how much, and how late the oldest is.
SELECT count(*) AS reservations, coalesce(sum(held_bytes), 0)::bigint AS bytes,
       coalesce(extract(epoch FROM clock_timestamp() - min(expires_at)), 0)::float8 AS oldest_seconds
FROM quota_reservations
WHERE state = 'reserved' AND expires_at < clock_timestamp()
