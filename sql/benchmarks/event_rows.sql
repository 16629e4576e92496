-- Rows of Dagster's event log by run, whatever wrote them.
SELECT run_id, count(*) AS rows FROM event_logs WHERE run_id = ANY (%(runs)s) GROUP BY run_id
