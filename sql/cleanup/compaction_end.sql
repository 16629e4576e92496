-- A compaction that is whole, or that is given up.
UPDATE history_compactions SET state = %(state)s, ended_at = clock_timestamp()
WHERE compaction_id = %(compaction_id)s AND state = 'open'
