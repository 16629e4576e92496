-- Asked in the maintenance database, where a database of this name could not be opened.
SELECT EXISTS (SELECT FROM pg_database WHERE datname = %(name)s) AS present
