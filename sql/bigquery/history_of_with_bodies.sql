-- Every state of these ids: which one is current, and whether a later one holds the same payload or body.
SELECT entity_id, sync_id, row_sha256, COALESCE(body_sha256, '') AS body_sha256 FROM `{table}`
WHERE entity_id IN UNNEST(@ids)
