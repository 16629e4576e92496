-- Disaster 4: an UPDATE without its WHERE clause, committed.
UPDATE content_storage_metadata SET title = 'Untitled', status = 'archived', metadata = '{}', updated_at = clock_timestamp()
