-- How many strays are due, how many there are, how long the oldest has been one.
SELECT count(*) AS strays, coalesce(sum(size_bytes), 0)::bigint AS bytes,
       extract(epoch FROM clock_timestamp() - min(first_seen))::float8 AS oldest_seconds,
       count(*) FILTER (WHERE ours AND sightings >= 2 AND last_seen - first_seen >= %(apart)s::interval
                          AND modified_at <= clock_timestamp() - %(apart)s::interval
                          AND look_id = (SELECT max(look_id) FROM stray_looks WHERE finished_at IS NOT NULL)) AS due
FROM stray_objects
