-- What we write into the legacy row: where its body is now.
UPDATE content_items
SET zerodb_id = %(zerodb_row_id)s, storage_size_bytes = %(size_bytes)s, migrated_at = now()
WHERE id = %(legacy_id)s AND migrated_at IS NULL
