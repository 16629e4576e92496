-- A restore that is not closed: what it brings back is not to be removed under its hands.
SELECT restore_id, run_id, opened_at FROM restore_runs WHERE status = 'open' ORDER BY opened_at LIMIT 1
