-- The first and last sync id of a table. Reads one column.
SELECT MIN(sync_id) AS first_sync_id, MAX(sync_id) AS last_sync_id FROM `{table}`
