-- Restores that are under way or may be gone on with: the states that they read expire after seven days.
SELECT restore_id::text AS restore_id, target, opened_at FROM restore_runs
WHERE status = 'open' AND opened_at > clock_timestamp() - interval '8 days'
ORDER BY opened_at LIMIT 1
