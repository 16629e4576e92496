-- A sign that a subject is well again: ends its alerts, those of a partitioned job once each of their partitions is well.
-- The row is due anew, under a new token: who is telling of its beginning at this moment stops, and its lease runs out first.
WITH well AS MATERIALIZED (
    SELECT id, CASE WHEN %(scope)s = '' THEN '{}'::text[] ELSE array_remove(scopes, %(scope)s) END AS left_over
    FROM platform_alerts
    WHERE phase = 'open' AND kind = %(kind)s AND subject = %(subject)s
      AND (%(event)s = 0 OR last_event < %(event)s)
    ORDER BY id
    FOR UPDATE
),
narrowed AS (
    UPDATE platform_alerts a SET scopes = w.left_over FROM well w
    WHERE a.id = w.id AND cardinality(w.left_over) > 0
),
ended AS (
    UPDATE platform_alerts a
    SET phase = 'resolved', scopes = '{}', ended_at = clock_timestamp(), ended_by = %(ended_by)s,
        last_event = greatest(a.last_event, %(event)s), claim_token = a.claim_token + 1, attempts = 0,
        next_attempt_at = clock_timestamp(), delivered_to = '{}', delivered_at = NULL, last_error = NULL
    FROM well w
    WHERE a.id = w.id AND cardinality(w.left_over) = 0
    RETURNING a.id
)
SELECT id FROM ended ORDER BY id
