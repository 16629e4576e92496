-- States of some partitions whose payload no longer has its stored hash.
SELECT entity_id, tenant_id, sync_id, op, row_sha256, payload_sha256
FROM (
    SELECT entity_id, tenant_id, sync_id, op, row_sha256, COALESCE(TO_HEX(SHA256(row_json)), '') AS payload_sha256
    FROM `{table}`
    WHERE synced_at >= @low AND synced_at < @high
)
WHERE payload_sha256 <> row_sha256
