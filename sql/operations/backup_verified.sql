-- It was restored and compared equal.
UPDATE database_backups
SET state = 'verified', verified_at = clock_timestamp(), restore_seconds = %(restore_seconds)s,
    compare_seconds = %(compare_seconds)s, failure = NULL
WHERE backup_id = %(backup_id)s AND state IN ('stored', 'verified', 'failed')
