-- How long ago each of Dagster's daemons said that it lives; the body has the time whatever the session's zone is.
SELECT daemon_type AS name, extract(epoch FROM clock_timestamp())::float8 - (body::json ->> 'timestamp')::float8 AS seconds,
       json_array_length(coalesce(body::json -> 'errors', '[]')) AS errors
FROM daemon_heartbeats ORDER BY daemon_type
