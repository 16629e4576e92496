-- The oldest transaction that can still write. Windows end before it, so a long one holds replication back.
SELECT coalesce(max(seconds), 0)::float8 AS seconds, (array_agg(who ORDER BY seconds DESC))[1] AS who
FROM (
    SELECT extract(epoch FROM clock_timestamp() - xact_start) AS seconds,
           format('pid %%s (%%s), %%s since %%s', pid, application_name, state, xact_start) AS who
    FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()
    UNION ALL
    SELECT extract(epoch FROM clock_timestamp() - prepared), format('prepared transaction %%s of %%s', gid, owner)
    FROM pg_prepared_xacts
) AS writers
