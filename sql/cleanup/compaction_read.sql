-- The compaction that is open, and its age in days.
SELECT compaction_id::text AS compaction_id, horizons, earliest,
       extract(epoch FROM clock_timestamp() - opened_at) / 86400 AS days
FROM history_compactions WHERE state = 'open'
