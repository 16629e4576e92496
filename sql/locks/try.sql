-- Session lock by name. It is released with the connection, so a killed run never leaves it behind.
SELECT pg_try_advisory_lock(hashtextextended(%(name)s, 0)) AS locked
