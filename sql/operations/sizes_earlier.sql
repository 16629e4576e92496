-- The last points of each table before a moment, the oldest first: growth and the chart.
SELECT table_name, measured_at, table_bytes + index_bytes AS total_bytes, live_rows
FROM (SELECT *, row_number() OVER (PARTITION BY table_name ORDER BY measured_at DESC) AS age
      FROM table_sizes WHERE measured_at < %(before)s) AS s
WHERE age <= %(points)s
ORDER BY table_name, measured_at
