-- How a partition's job ended.
UPDATE history_compaction_parts SET state = %(state)s, done_at = clock_timestamp()
WHERE compaction_id = %(compaction_id)s AND table_name = %(table)s AND pass = %(pass)s AND partition_day = %(day)s
  AND state = 'intended'
