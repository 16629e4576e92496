-- States in each partition. Reads one column.
SELECT CAST(DATE(synced_at) AS STRING) AS day, COUNT(*) AS present FROM `{table}`
WHERE synced_at >= @low AND synced_at < @high GROUP BY day ORDER BY day
