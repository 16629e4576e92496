-- The syncs that opened by a moment, newest first; the first of them that had read its rows by then is wanted.
SELECT sync_id, synced_at, MAX(read_until) AS read_until FROM `{table}`
WHERE synced_at <= @moment GROUP BY sync_id, synced_at ORDER BY sync_id DESC LIMIT 3
