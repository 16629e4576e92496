-- What a partition must be left as, where its job was begun.
SELECT rows_before, rows_kept, kept_digest, freed_bytes, state FROM history_compaction_parts
WHERE compaction_id = %(compaction_id)s AND table_name = %(table)s AND pass = %(pass)s AND partition_day = %(day)s
