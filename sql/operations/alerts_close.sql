-- Ends alerts that nothing will end: of subjects that are not there any more, and of runs that nothing was heard of for days.
WITH gone AS MATERIALIZED (
    SELECT id, CASE WHEN kind = 'run' THEN %(quiet)s ELSE %(undefined)s END AS ended_by
    FROM platform_alerts
    WHERE phase = 'open'
      AND CASE WHEN kind = 'run' THEN last_seen_at < clock_timestamp() - %(days)s * interval '1 day'
               ELSE kind = %(kind)s AND subject <> ALL (%(subjects)s::text[]) END
    ORDER BY id
    FOR UPDATE
)
UPDATE platform_alerts a
SET phase = 'closed', scopes = '{}', ended_at = clock_timestamp(), ended_by = g.ended_by, claim_token = a.claim_token + 1,
    attempts = 0, next_attempt_at = clock_timestamp(), delivered_to = '{}', delivered_at = NULL, last_error = NULL
FROM gone g WHERE a.id = g.id
RETURNING a.id
