-- Documents that a row names: those are never replaced.
SELECT zerodb_row_id FROM content_versions WHERE zerodb_row_id = ANY(%(ids)s)
UNION
SELECT zerodb_row_id FROM content_storage_metadata WHERE zerodb_row_id = ANY(%(ids)s)
UNION
SELECT zerodb_row_id FROM media_assets WHERE zerodb_row_id = ANY(%(ids)s)
