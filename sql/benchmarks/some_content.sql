-- The items that the next delta changes.
SELECT id, version FROM content_storage_metadata ORDER BY id OFFSET %(offset)s LIMIT %(rows)s
