-- What is open, the oldest first.
SELECT id, kind, subject, cause, scopes, summary, reason, occurrences, opened_at, last_seen_at, suppressed, delivered_at
FROM platform_alerts WHERE phase = 'open' ORDER BY id
