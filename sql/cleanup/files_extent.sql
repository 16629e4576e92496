-- How many superseded files wait past the grace period, and since when the oldest of all has.
SELECT count(*) FILTER (WHERE superseded_at <= clock_timestamp() - %(grace)s::interval) AS files,
       extract(epoch FROM clock_timestamp() - min(superseded_at))::float8 AS oldest_seconds
FROM media_superseded
