-- The revision at which our schema is recorded to be.
SELECT version_num FROM content_orchestration_version
