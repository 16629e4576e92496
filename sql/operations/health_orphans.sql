-- Renders that nobody saved and that are not in quarantine yet, and since when the oldest is one.
SELECT count(*) AS orphans, coalesce(extract(epoch FROM clock_timestamp() - min(since)), 0)::float8 AS oldest_seconds
FROM render_candidates WHERE state = 'orphan'
