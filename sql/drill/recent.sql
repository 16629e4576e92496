-- The last drills of each scenario, newest first, with their age by the server's clock.
SELECT drill_id, scenario, started_at, finished_at, detection_seconds, rows_lost, rpo_seconds, rto_seconds, verified, run_id,
       detail ->> 'detected_by' AS detected_by, detail ->> 'error' AS error, (detail ->> 'items')::bigint AS items,
       extract(epoch FROM clock_timestamp() - started_at)::float8 AS age_seconds
FROM (SELECT *, row_number() OVER (PARTITION BY scenario ORDER BY started_at DESC) AS recency FROM restore_drills) AS d
WHERE recency <= %(most)s
ORDER BY started_at DESC, scenario
