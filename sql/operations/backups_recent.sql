-- The backups that were not removed, and the last that failed, the newest first.
SELECT backup_id::text AS backup_id, key, state, started_at, size_bytes, sha256, server_version, dump_seconds, restore_seconds,
       compare_seconds, verified_at, failure
FROM database_backups
WHERE state <> 'removed'
ORDER BY started_at DESC
LIMIT 100
