-- An item with its versions and waiting bodies, for good; its files are left to cleanup. BigQuery keeps the history of all.
WITH item AS (
    DELETE FROM content_storage_metadata WHERE id = %(id)s AND tenant_id = %(tenant_id)s RETURNING *
), waiting AS (
    DELETE FROM content_body_spill WHERE content_id = %(id)s AND tenant_id = %(tenant_id)s
), history AS (
    DELETE FROM content_versions WHERE content_id = %(id)s AND tenant_id = %(tenant_id)s RETURNING zerodb_row_id
), files AS (
    UPDATE media_assets SET deleted_at = clock_timestamp(), updated_at = greatest(clock_timestamp(), updated_at)
    WHERE content_id = %(id)s AND tenant_id = %(tenant_id)s AND deleted_at IS NULL AND EXISTS (SELECT FROM item)
    RETURNING size_bytes
)
SELECT i.*, (SELECT coalesce(array_agg(zerodb_row_id), '{}') FROM history) AS documents,
       (SELECT count(*) FROM files) AS media_files, (SELECT coalesce(sum(size_bytes), 0)::bigint FROM files) AS media_bytes
FROM item i
