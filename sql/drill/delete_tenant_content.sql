-- Disaster 3: the content of one tenant is deleted, all of it in one transaction. Returns the ids of the documents.
WITH content AS (
    DELETE FROM content_storage_metadata WHERE tenant_id = %(tenant_id)s RETURNING zerodb_row_id
), versions AS (
    DELETE FROM content_versions WHERE tenant_id = %(tenant_id)s RETURNING zerodb_row_id
), media AS (
    DELETE FROM media_assets WHERE tenant_id = %(tenant_id)s RETURNING zerodb_row_id
)
SELECT zerodb_row_id FROM content UNION SELECT zerodb_row_id FROM versions UNION SELECT zerodb_row_id FROM media
