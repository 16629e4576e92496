-- The rows of a purged item's files, with what was noted about them. Their objects and documents follow.
WITH gone AS (
    DELETE FROM media_assets m
    WHERE m.tenant_id = %(tenant_id)s AND m.content_id = %(content_id)s AND m.deleted_at IS NOT NULL
    RETURNING m.id, m.zerodb_row_id, m.size_bytes, coalesce(m.metadata ->> 'object_key', m.sha256) AS key
), asked AS (
    DELETE FROM media_ingest i USING gone WHERE i.asset_id = gone.id
), used AS (
    DELETE FROM media_usage_logs u USING gone WHERE u.tenant_id = %(tenant_id)s AND u.asset_id = gone.id
)
SELECT id, zerodb_row_id, size_bytes, key FROM gone
