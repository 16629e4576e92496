-- Backups past their days, all but the newest verified ones. Only those of this database: a copy of it elsewhere has their rows too.
SELECT backup_id::text AS backup_id, key
FROM database_backups b
WHERE state <> 'removed' AND state <> 'running' AND key LIKE %(prefix)s
  AND started_at < clock_timestamp() - make_interval(days => %(days)s)
  AND backup_id NOT IN (SELECT v.backup_id FROM database_backups v WHERE v.state = 'verified'
                        ORDER BY v.started_at DESC LIMIT %(keep)s)
ORDER BY started_at
