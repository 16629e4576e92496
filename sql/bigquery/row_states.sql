-- Every state of these rows that the history holds, newest first: the last one that its hash proves is what the row was.
SELECT entity_id, tenant_id, op, row_json, row_sha256 FROM `{table}`
WHERE entity_id IN UNNEST(@ids) ORDER BY entity_id, sync_id DESC, sync_part DESC
