-- How long ago a dump was last taken that proved to restore: its age, not the check's.
SELECT backup_id::text AS backup_id, key, started_at, verified_at, size_bytes,
       extract(epoch FROM clock_timestamp() - started_at)::float8 / 86400 AS age_days
FROM database_backups WHERE state = 'verified'
ORDER BY started_at DESC
LIMIT 1
