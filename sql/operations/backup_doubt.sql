-- The check could not look: nothing is said of the dump itself.
UPDATE database_backups SET failure = %(failure)s WHERE backup_id = %(backup_id)s
