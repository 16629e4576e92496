-- Which of these keys the history holds, in any state.
SELECT DISTINCT entity_id FROM `{table}`
WHERE entity_id IN UNNEST(@ids)
