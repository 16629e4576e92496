-- Alerts that targets lack: how many, how many of them due, since when, and why.
SELECT count(*) AS waiting,
       count(*) FILTER (WHERE next_attempt_at <= clock_timestamp()
                          AND (claimed_until IS NULL OR claimed_until <= clock_timestamp())) AS due,
       coalesce(extract(epoch FROM clock_timestamp() - min(coalesce(ended_at, opened_at))), 0)::float8 AS oldest_seconds,
       coalesce(max(attempts), 0) AS attempts,
       (array_agg(last_error ORDER BY attempts DESC, id) FILTER (WHERE last_error IS NOT NULL))[1] AS last_error
FROM platform_alerts
WHERE delivered_at IS NULL AND suppressed IS NULL
