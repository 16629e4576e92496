-- Forgets reservations that ended long ago, a chunk at a time. Generated items are counted from their reservations while
-- their month and the one after it last.
DELETE FROM quota_reservations
WHERE id IN (
    SELECT id FROM quota_reservations
    WHERE created_at < clock_timestamp() - %(keep)s::interval AND state <> 'reserved'
      AND settled_at < clock_timestamp() - %(keep)s::interval
      AND (month IS NULL OR month < quota_month() - interval '1 month')
    LIMIT %(most)s FOR UPDATE SKIP LOCKED
)
