-- The partitions that hold rows to be removed, and how many.
SELECT day, pass, COUNT(*) AS doomed, SUM(bytes) AS bytes FROM `{table}` GROUP BY day, pass
