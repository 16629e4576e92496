-- Which of these documents a row points to. A document that none points to was left by a run that was killed.
SELECT zerodb_row_id FROM content_storage_metadata WHERE zerodb_row_id = ANY (%(ids)s)
UNION
SELECT zerodb_row_id FROM content_versions WHERE zerodb_row_id = ANY (%(ids)s)
UNION
SELECT zerodb_row_id FROM media_assets WHERE zerodb_row_id = ANY (%(ids)s)
