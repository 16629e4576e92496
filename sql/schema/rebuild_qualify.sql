-- With nothing of ours on the path, PostgreSQL prints every name with its schema.
SELECT set_config('search_path', 'pg_catalog', true)
