-- Every index of the platform's schema with its use and what a fresh one would take: of several columns an upper limit, since equal keys share an entry.
WITH keys AS (
    SELECT i.indexrelid, count(*) AS columns, count(s.avg_width) AS known,
           sum((1 - s.null_frac) * s.avg_width) AS width, bool_or(s.null_frac > 0) AS nulls,
           min(s.n_distinct) AS distinct_keys
    FROM pg_index i
    JOIN pg_class x ON x.oid = i.indexrelid
    JOIN pg_class c ON c.oid = i.indrelid
    JOIN pg_attribute a ON a.attrelid = i.indexrelid
    -- A column of an index has the statistics of the table's; an expression has its own, under the index's name.
    LEFT JOIN pg_attribute o ON o.attrelid = i.indrelid AND o.attnum = i.indkey[a.attnum - 1] AND i.indkey[a.attnum - 1] <> 0
    LEFT JOIN pg_stats s ON s.schemaname = 'public' AND NOT s.inherited
         AND s.tablename = CASE WHEN o.attnum IS NULL THEN x.relname ELSE c.relname END
         AND s.attname = coalesce(o.attname, a.attname)
    WHERE c.relnamespace = 'public'::regnamespace
    GROUP BY i.indexrelid
)
SELECT x.relname AS name, c.relname AS table_of, x.oid::bigint AS oid, m.amname AS method,
       pg_relation_size(x.oid) AS bytes, coalesce(u.idx_scan, 0) AS scans,
       i.indisunique OR i.indisexclusion OR k.oid IS NOT NULL AS bound_to_rule,
       i.indisvalid AS valid, i.indisexclusion AS exclusion,
       pg_stat_get_db_stat_reset_time((SELECT oid FROM pg_database WHERE datname = current_database())) AS counted_since,
       -- A key takes its header (8, or 16 with NULLs), its columns to the next 8 bytes, a pointer (4), and an equal one 6 bytes more:
       -- nine tenths of 8,152 bytes are filled. An index that was never counted since it was made says nothing.
       CASE WHEN m.amname = 'btree' AND c.reltuples >= 0 AND (x.reltuples = 0 OR w.known = w.columns) THEN
           (16384 + ceil((e.entries * (12 + CASE WHEN w.nulls THEN 8 ELSE 0 END + ceil(coalesce(w.width, 0) / 8) * 8)
                          + (x.reltuples - e.entries) * 6)
                         / (8152 * coalesce(substring(array_to_string(x.reloptions, ',') FROM 'fillfactor=(\d+)')::numeric, 90) / 100)
                         * 1.01) * 8192)::bigint
       END AS needed_bytes,
       pg_has_role(c.relowner, 'USAGE') AS ours
FROM pg_index i
JOIN pg_class x ON x.oid = i.indexrelid AND x.relkind = 'i'
JOIN pg_class c ON c.oid = i.indrelid
JOIN pg_am m ON m.oid = x.relam
LEFT JOIN keys w ON w.indexrelid = i.indexrelid
CROSS JOIN LATERAL (
    SELECT CASE WHEN i.indisunique OR w.columns <> 1 OR w.distinct_keys IS NULL OR w.distinct_keys = 0 THEN x.reltuples
                WHEN w.distinct_keys > 0 THEN least(w.distinct_keys, x.reltuples)
                ELSE -w.distinct_keys * x.reltuples END AS entries
) AS e
LEFT JOIN pg_constraint k ON k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x')
LEFT JOIN pg_stat_user_indexes u ON u.indexrelid = i.indexrelid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relpersistence <> 't'
ORDER BY x.relname
