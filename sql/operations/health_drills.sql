-- When a drill last ran, and when one was last verified.
SELECT extract(epoch FROM clock_timestamp() - max(started_at))::float8 AS since_started,
       extract(epoch FROM clock_timestamp() - max(started_at) FILTER (WHERE verified))::float8 AS since_verified,
       (array_agg(scenario ORDER BY started_at DESC))[1] AS last_scenario
FROM restore_drills
