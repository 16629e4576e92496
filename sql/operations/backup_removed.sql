-- Its object is gone. The row stays: it says what there was.
UPDATE database_backups SET state = 'removed', removed_at = clock_timestamp() WHERE backup_id = %(backup_id)s
