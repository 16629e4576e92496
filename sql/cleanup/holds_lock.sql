-- Waits for every transaction that removes something, and keeps others from beginning to, until this one ends.
SELECT pg_advisory_xact_lock(hashtextextended('legal holds', 0))
