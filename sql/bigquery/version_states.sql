-- Every state of the version records of these items, newest first.
SELECT entity_id, content_id, row_json, row_sha256 FROM `{table}`
WHERE content_id IN UNNEST(@contents) ORDER BY content_id, sync_id DESC, sync_part DESC
