-- Version records as their documents say them.
SELECT zerodb_row_id AS id, content_id::text AS content_id, tenant_id::text AS tenant_id, version, changed_by, change_reason,
       coalesce(patch -> 'operations', patch) AS patch, body_sha256
FROM content_versions WHERE zerodb_row_id = ANY (%(ids)s)
