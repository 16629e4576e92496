-- The documents of content_items that items and versions name, of a tenant or all, these or all, in order of their bytes.
SELECT zerodb_row_id
FROM (
    SELECT zerodb_row_id FROM content_storage_metadata
    WHERE (%(tenant)s::uuid IS NULL OR tenant_id = %(tenant)s) AND (%(ids)s::text[] IS NULL OR zerodb_row_id = ANY (%(ids)s))
    UNION ALL
    SELECT zerodb_row_id FROM content_versions
    WHERE (%(tenant)s::uuid IS NULL OR tenant_id = %(tenant)s) AND (%(ids)s::text[] IS NULL OR zerodb_row_id = ANY (%(ids)s))
) AS named
ORDER BY zerodb_row_id COLLATE "C"
