-- A partition, before its job: what must be left in it. One that is written down already stays as it is.
INSERT INTO history_compaction_parts (compaction_id, table_name, pass, partition_day, rows_before, rows_kept, kept_digest,
                                      freed_bytes, bytes_estimated)
VALUES (%(compaction_id)s, %(table)s, %(pass)s, %(day)s, %(rows_before)s, %(rows_kept)s, %(kept_digest)s, %(freed_bytes)s,
        %(bytes_estimated)s)
