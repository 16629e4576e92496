-- Current rows, those left out whose ids changed since the sync.
SELECT COUNT(*) AS present, 0 AS bodies_missing FROM `{table}`
WHERE entity_id NOT IN UNNEST(@ids)
