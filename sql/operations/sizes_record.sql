-- One row a table and measurement; a second look within the same moment replaces nothing.
INSERT INTO table_sizes (table_name, measured_at, table_bytes, index_bytes, live_rows, dead_rows, bloat_bytes)
VALUES (%(table_name)s, %(measured_at)s, %(table_bytes)s, %(index_bytes)s, %(live_rows)s, %(dead_rows)s, %(bloat_bytes)s)
ON CONFLICT (table_name, measured_at) DO NOTHING
