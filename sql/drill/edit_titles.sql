-- Edits that no sync has carried yet when the disaster comes: what a recovery point objective allows to be lost.
UPDATE content_storage_metadata SET title = title || ' (edited)', updated_at = clock_timestamp() WHERE id = ANY (%(ids)s::uuid[])
