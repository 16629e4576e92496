-- The newest measurement of every table, the largest first.
SELECT table_name, measured_at, table_bytes, index_bytes, table_bytes + index_bytes AS total_bytes, live_rows, dead_rows, bloat_bytes
FROM table_sizes
WHERE measured_at = (SELECT max(measured_at) FROM table_sizes)
ORDER BY total_bytes DESC, table_name
