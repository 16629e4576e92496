-- The document of a row says what its row says; not where the row was changed by ingest again meanwhile.
UPDATE media_ingest SET document_due = false, updated_at = clock_timestamp()
WHERE asset_id = %(id)s AND document_due
