-- It cannot be relied on, and why. A proof that an earlier check gave does not stand against this.
UPDATE database_backups SET state = 'failed', failure = %(failure)s
WHERE backup_id = %(backup_id)s AND state <> 'removed'
