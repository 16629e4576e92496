-- The planner's row counts; -1 where a table was never analysed.
SELECT relname AS table_name, reltuples::bigint AS rows
FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relname = ANY (%(tables)s) AND relkind IN ('r', 'p')
