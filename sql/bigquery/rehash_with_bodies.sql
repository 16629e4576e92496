-- States of some partitions whose payload or body no longer has its stored hash, or whose body is not the one that an intact
-- payload names. A tombstone has no body.
SELECT entity_id, tenant_id, sync_id, op, row_sha256, payload_sha256, body_sha256, found_sha256, told
FROM (
    SELECT entity_id, tenant_id, sync_id, op, row_sha256, COALESCE(TO_HEX(SHA256(row_json)), '') AS payload_sha256,
        COALESCE(body_sha256, '') AS body_sha256, TO_HEX(SHA256(body)) AS found_sha256,
        STRPOS(row_json, CONCAT('"body_sha256":"', COALESCE(body_sha256, ''), '"')) > 0 AS told
    FROM `{table}`
    WHERE synced_at >= @low AND synced_at < @high
)
WHERE payload_sha256 <> row_sha256
OR (op <> 'delete' AND (found_sha256 IS NULL OR found_sha256 <> body_sha256 OR NOT told))
