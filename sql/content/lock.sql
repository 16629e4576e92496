-- One writer an item at a time. An advisory lock, since a row lock would hold back the replication horizon meanwhile.
SELECT pg_advisory_xact_lock(hashtextextended('content:' || id, 0))
FROM (SELECT DISTINCT unnest(%(ids)s::text[]) AS id ORDER BY 1) AS wanted
