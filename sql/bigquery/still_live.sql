-- Which of these keys are current although they should not be; a sample is enough.
SELECT entity_id FROM `{table}`
WHERE entity_id IN UNNEST(@ids) LIMIT 20
