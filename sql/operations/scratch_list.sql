-- Databases that checks of backups made, and how many are connected to each.
SELECT d.datname AS name, (SELECT count(*) FROM pg_stat_activity a WHERE a.datid = d.oid) AS sessions
FROM pg_database d
WHERE d.datname LIKE 'content\_backup\_%'
ORDER BY 1
