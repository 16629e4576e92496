-- Until this transaction ends no hold is placed; a statement of its own, since a later one then sees every hold that stands.
SELECT pg_advisory_xact_lock_shared(hashtextextended('legal holds', 0))
