-- Ended runs past their days that hold the latest of nothing: no asset's, partition's or check's last word,
-- nor part of a backfill that goes on. Asked in Dagster's own database.
WITH latest AS (
    SELECT max(id) AS id FROM event_logs WHERE asset_key IS NOT NULL GROUP BY asset_key, dagster_event_type, partition
), kept AS (
    SELECT e.run_id FROM latest JOIN event_logs e USING (id)
    UNION SELECT last_run_id FROM asset_keys WHERE last_run_id IS NOT NULL
    UNION SELECT run_id FROM asset_check_executions
    WHERE id IN (SELECT max(id) FROM asset_check_executions
                 GROUP BY asset_key, check_name, partition, execution_status = 'PLANNED')
)
SELECT r.id, r.run_id, r.run_id IN (SELECT run_id FROM kept WHERE run_id IS NOT NULL) AS kept
FROM runs r
WHERE r.id > %(after)s AND r.status IN ('SUCCESS', 'FAILURE', 'CANCELED')
  AND r.update_timestamp < (clock_timestamp() AT TIME ZONE 'UTC') - make_interval(days => %(days)s)
  AND NOT EXISTS (SELECT FROM bulk_actions b WHERE b.key = r.backfill_id AND b.status IN ('REQUESTED', 'CANCELING', 'FAILING'))
ORDER BY r.id
LIMIT %(most)s
