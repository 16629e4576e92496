-- Which body documents these rows point to.
SELECT r.id::text AS entity_id, r.zerodb_row_id
FROM (
    SELECT id, zerodb_row_id FROM content_storage_metadata WHERE %(entity)s = 'content_storage'
    UNION ALL
    SELECT id, zerodb_row_id FROM content_versions WHERE %(entity)s = 'content_versions'
) AS r
WHERE r.id = ANY (%(ids)s::uuid[])
