-- How many indexes a table has, the ones behind its constraints included.
SELECT tablename AS table_name, count(*) AS indexes
FROM pg_indexes
WHERE schemaname = current_schema() AND tablename = ANY (%(tables)s)
GROUP BY tablename
