-- When each partition of a history was last read and hashed in full.
SELECT partition_day, scrubbed_at FROM warehouse_scrub_progress WHERE table_name = %(table)s
