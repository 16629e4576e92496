-- What a killed build left; it is built again.
DROP INDEX CONCURRENTLY IF EXISTS render_jobs_content_file
