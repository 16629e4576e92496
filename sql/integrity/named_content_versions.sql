-- The documents of content_versions that version records name, of a tenant or all, these or all, in order of their bytes.
SELECT zerodb_row_id
FROM (
    SELECT zerodb_row_id FROM content_versions
    WHERE (%(tenant)s::uuid IS NULL OR tenant_id = %(tenant)s) AND (%(ids)s::text[] IS NULL OR zerodb_row_id = ANY (%(ids)s))
) AS named
ORDER BY zerodb_row_id COLLATE "C"
