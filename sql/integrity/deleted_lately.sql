-- Which of these documents a row named that was deleted since: whoever deletes a row deletes its document afterwards.
SELECT DISTINCT last_row::json ->> 'zerodb_row_id' AS zerodb_row_id
FROM content_changes
WHERE op = 'D' AND changed_at > %(since)s AND last_row::json ->> 'zerodb_row_id' = ANY (%(ids)s)
