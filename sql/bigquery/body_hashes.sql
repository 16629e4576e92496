-- Of the current state of each of these rows: the body's hash by its own column, the one that it has, and whether the payload names it.
SELECT entity_id, tenant_id, COALESCE(body_sha256, '') AS said, TO_HEX(SHA256(body)) AS found,
    STRPOS(row_json, CONCAT('"body_sha256":"', COALESCE(body_sha256, ''), '"')) > 0 AS told
FROM `{table}`
WHERE entity_id IN UNNEST(@ids)
