-- The columns of a table in order, and which of them PostgreSQL computes. No row where there is no such table.
SELECT attname AS name, attgenerated <> '' AS generated FROM pg_attribute
WHERE attrelid = to_regclass(%(table)s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum
