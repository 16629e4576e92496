-- One sign of a cause: opens its alert, or adds to the open one. Nothing for a sign older than the end of an earlier alert.
INSERT INTO platform_alerts AS a (kind, subject, cause, scopes, summary, reason, next_step, link, last_event)
SELECT %(kind)s, %(subject)s, %(cause)s, %(scopes)s::text[], %(summary)s, %(reason)s, %(next_step)s, %(link)s, %(event)s
WHERE NOT EXISTS (
    SELECT FROM platform_alerts e
    WHERE e.cause = %(cause)s AND e.phase <> 'open' AND %(event)s > 0 AND e.last_event >= %(event)s
)
ON CONFLICT (cause) WHERE phase = 'open' DO UPDATE
SET occurrences = a.occurrences + CASE WHEN excluded.last_event = 0 OR excluded.last_event > a.last_event THEN 1 ELSE 0 END,
    scopes = CASE WHEN cardinality(a.scopes) >= %(most_scopes)s OR a.scopes @> excluded.scopes THEN a.scopes
                  ELSE a.scopes || excluded.scopes END,
    reason = excluded.reason, last_event = greatest(a.last_event, excluded.last_event), last_seen_at = clock_timestamp()
WHERE excluded.last_event = 0 OR excluded.last_event > a.last_event
RETURNING a.id, a.occurrences = 1 AS opened
