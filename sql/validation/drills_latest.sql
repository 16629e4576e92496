-- Good is six rows, all with verified t, rows_lost 0, started less than 8 days ago. No row: no drill has run yet.
SELECT DISTINCT ON (scenario) scenario, started_at, finished_at, verified, rows_lost, detection_seconds, rpo_seconds, rto_seconds,
       detail ->> 'error' AS error
FROM restore_drills
ORDER BY scenario, started_at DESC
