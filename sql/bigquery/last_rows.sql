-- The rows as they last were, for tombstones that no trigger wrote.
SELECT entity_id, tenant_id, row_json AS last_row FROM `{table}`
WHERE entity_id IN UNNEST(@ids)
