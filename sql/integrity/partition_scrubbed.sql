-- A partition was read and hashed in full.
INSERT INTO warehouse_scrub_progress (table_name, partition_day, scrubbed_at) VALUES (%(table)s, %(day)s, %(now)s)
ON CONFLICT (table_name, partition_day) DO UPDATE SET scrubbed_at = greatest(warehouse_scrub_progress.scrubbed_at, excluded.scrubbed_at)
