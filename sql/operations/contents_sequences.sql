-- How far each sequence has come; a copy may be ahead, since sequences do not wait for a snapshot, but not behind.
SELECT schemaname || '.' || sequencename AS name, coalesce(last_value, 0) AS value, increment_by > 0 AS ascending
FROM pg_sequences
ORDER BY 1
