-- Concurrent runs take turns, a batch each; the lock goes with the transaction, however it ends.
SELECT pg_advisory_xact_lock(hashtextextended('migration:' || %(table)s, 0))
