-- The parts of a state, in order.
SELECT part, COUNT(*) AS row_count, SUM(bytes) AS bytes FROM `{table}` GROUP BY part ORDER BY part
