-- Released at once: the server may take a moment to notice that a connection is gone, and a retry would meet its own lock.
SELECT pg_advisory_unlock(hashtextextended(%(name)s, 0))
