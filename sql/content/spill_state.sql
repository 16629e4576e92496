-- How much waits for ZeroDB, and for how long the oldest of it has.
SELECT count(*) AS bodies, coalesce(sum(size_bytes), 0)::bigint AS bytes,
       coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8 AS oldest_seconds
FROM content_body_spill
