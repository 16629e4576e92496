-- Whose the states of these items are, of any time.
SELECT DISTINCT tenant_id, content_id FROM `{table}` WHERE content_id IN UNNEST(@ids)
