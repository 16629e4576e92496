-- Current rows and how many of them lack their body, those left out whose ids changed since the sync.
SELECT COUNT(*) AS present, COUNTIF(body IS NULL) AS bodies_missing FROM `{table}`
WHERE entity_id NOT IN UNNEST(@ids)
