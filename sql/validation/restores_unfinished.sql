-- Good is no row: each one is a restore that was cut off (start it again with the same plan_hash) or that quarantined something.
SELECT r.restore_id, r.status, r.opened_at, r.attempts, r.as_of_sync_id, r.target, r.plan_hash,
       (SELECT count(*) FROM restore_quarantine q WHERE q.restore_id = r.restore_id) AS quarantined
FROM restore_runs r
WHERE r.status = 'open' OR EXISTS (SELECT FROM restore_quarantine q WHERE q.restore_id = r.restore_id)
ORDER BY r.opened_at DESC
