-- Rows and bytes of Dagster's event log, by the planner's count where it is large; NULL where there is none.
SELECT CASE WHEN c.reltuples >= 100000 THEN c.reltuples::bigint ELSE (SELECT count(*) FROM event_logs) END AS rows,
       pg_total_relation_size(c.oid) AS bytes
FROM pg_class c WHERE c.oid = to_regclass('public.event_logs')
