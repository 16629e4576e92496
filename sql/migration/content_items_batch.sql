-- The next legacy rows by id, their size in memory (pg_column_size would give it compressed), and whether an item came
-- from them already, one that was purged too.
SELECT l.id, m.id IS NOT NULL OR p.source IS NOT NULL AS present,
       coalesce(octet_length(l.content_body), 0) + coalesce(octet_length(l.content_metadata::text), 0) AS bytes
FROM content_items l
LEFT JOIN content_storage_metadata m ON m.source = 'content_items:' || l.id
LEFT JOIN purged_sources p ON p.source = 'content_items:' || l.id
WHERE l.id >= %(first)s
ORDER BY l.id
LIMIT %(limit)s
