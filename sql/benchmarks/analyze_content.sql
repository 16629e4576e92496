-- DuckDB scans in parallel only where it knows how many pages there are.
VACUUM (ANALYZE) content_storage_metadata
