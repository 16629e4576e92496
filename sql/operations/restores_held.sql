-- Restores into a scratch schema of this database that run at this moment: each holds the lock of its target.
SELECT DISTINCT r.target
FROM restore_runs r
JOIN pg_locks l ON l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
     AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
     AND (l.classid::bigint << 32 | l.objid::bigint) = hashtextextended('restore into ' || r.target, 0)
WHERE r.status = 'open'
