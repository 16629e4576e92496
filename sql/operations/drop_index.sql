-- Removes what a REINDEX left that was ended half-way; nobody reads it, but every write still fills it.
DROP INDEX CONCURRENTLY IF EXISTS {index}
