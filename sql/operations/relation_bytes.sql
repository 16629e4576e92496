-- Bytes of a table without its indexes, or of an index; NULL where it is gone.
SELECT pg_table_size(to_regclass(%(name)s)) AS bytes
