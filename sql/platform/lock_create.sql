-- Two CREATE TABLE IF NOT EXISTS at once can both find nothing, and the second then fails: one creator at a time.
SELECT pg_advisory_xact_lock(hashtextextended('content_orchestration:platform_tables', 0))
