-- How many rows of each load file of a sync the table holds. Reads one partition: for recovery only.
SELECT sync_part, COUNT(*) AS loaded FROM `{table}`
WHERE synced_at = @synced_at AND sync_id = @sync_id GROUP BY sync_part
