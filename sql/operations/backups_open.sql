-- Backups that began and were never stored; asked while the lock is held, so no living run owns one.
SELECT backup_id::text AS backup_id, key FROM database_backups WHERE state = 'running'
