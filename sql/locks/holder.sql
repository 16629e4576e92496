-- Who holds the lock, for the message of the run that did not get it. The same number in another database is another lock.
SELECT a.pid, a.application_name, a.backend_start AS since
FROM pg_locks l
JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (l.classid::bigint << 32 | l.objid::bigint) = hashtextextended(%(name)s, 0)
LIMIT 1
