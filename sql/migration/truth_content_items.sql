-- What became of each row of content_items, from the tables themselves.
SELECT count(*) AS legacy,
       count(m.id) AS items,
       count(*) FILTER (WHERE m.id IS NULL AND q.id IS NOT NULL) AS quarantined,
       count(*) FILTER (WHERE m.id IS NULL AND q.id IS NULL) AS unaccounted,
       coalesce(string_agg(DISTINCT q.reason, ', ') FILTER (WHERE m.id IS NULL), '') AS reasons
FROM content_items l
LEFT JOIN content_storage_metadata m ON m.source = 'content_items:' || l.id
LEFT JOIN migration_quarantine q ON q.source = 'content_items:' || l.id AND q.resolved_at IS NULL
