-- How many orphans are known, and how long the oldest has been one; the partial index holds orphans only.
SELECT count(*) AS candidates, extract(epoch FROM clock_timestamp() - min(since))::float8 AS oldest_seconds
FROM render_candidates WHERE state = 'orphan'
