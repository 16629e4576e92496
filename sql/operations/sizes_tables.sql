-- Every table of the platform's schema, a partition a row, with what a fresh copy of its rows would take (the estimate: core/operations/sizes.py).
WITH columns AS (
    SELECT a.attrelid, count(*) AS columns, count(s.avg_width) AS known,
           sum((1 - s.null_frac) * s.avg_width) AS width
    FROM pg_attribute a
    JOIN pg_class c ON c.oid = a.attrelid AND c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace
    LEFT JOIN pg_stats s ON s.schemaname = 'public' AND s.tablename = c.relname AND s.attname = a.attname AND NOT s.inherited
    WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated <> 'v'
    GROUP BY a.attrelid
)
SELECT c.oid::bigint AS oid, c.relname AS name,
       coalesce((SELECT p.relname FROM pg_class p WHERE p.oid = pg_partition_root(c.oid)), c.relname) AS table_name,
       pg_relation_size(c.oid) AS heap_bytes, pg_table_size(c.oid) AS table_bytes,
       coalesce(t.n_live_tup, 0) AS live_rows, coalesce(t.n_dead_tup, 0) AS dead_rows,
       coalesce(t.n_mod_since_analyze, 0) AS changed_rows,
       age(c.relfrozenxid)::bigint AS transaction_age,
       t.last_vacuum, t.last_autovacuum,
       -- A row takes its header (24), its columns to the next 8 bytes, and a pointer (4). A page has 8,168 bytes for rows.
       CASE WHEN c.reltuples = 0 THEN 0
            WHEN c.reltuples > 0 AND k.known = k.columns THEN
                (ceil(c.reltuples * (28 + ceil(k.width / 8) * 8)
                      / (8168 * coalesce(substring(array_to_string(c.reloptions, ',') FROM 'fillfactor=(\d+)')::numeric, 100) / 100))
                 * 8192)::bigint
       END AS needed_bytes,
       pg_has_role(c.relowner, 'USAGE') AS ours
FROM pg_class c
LEFT JOIN columns k ON k.attrelid = c.oid
LEFT JOIN pg_stat_user_tables t ON t.relid = c.oid
WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND c.relpersistence <> 't'
ORDER BY c.relname
