-- The oldest bodies that wait, at most so many bytes and always one, less the refused; what another drain holds is left to it.
WITH page AS (
    SELECT zerodb_row_id, sum(size_bytes) OVER (ORDER BY created_at, zerodb_row_id) - size_bytes AS before
    FROM content_body_spill
    WHERE zerodb_row_id <> ALL(%(refused)s)
    ORDER BY created_at, zerodb_row_id
    LIMIT %(limit)s
)
SELECT s.zerodb_row_id, s.tenant_id, s.content_id, s.version, s.body, s.body_sha256, s.size_bytes, s.document,
       v.body_sha256 AS recorded_sha256, v.changed_by, v.change_reason, v.patch -> 'operations' AS patch
FROM content_body_spill s
JOIN page p ON p.zerodb_row_id = s.zerodb_row_id
LEFT JOIN content_versions v ON v.content_id = s.content_id AND v.version = s.version
WHERE p.before < %(bytes)s
ORDER BY s.created_at, s.zerodb_row_id
FOR UPDATE OF s SKIP LOCKED
