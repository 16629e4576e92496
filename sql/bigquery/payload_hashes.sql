-- The hash that the current state of each of these rows carries, and the one that its payload has.
SELECT entity_id, tenant_id, row_sha256 AS said, TO_HEX(SHA256(row_json)) AS found FROM `{table}`
WHERE entity_id IN UNNEST(@ids)
