-- How the last pass of each part ended.
SELECT DISTINCT ON (kind) kind, at, run_id, action, reason, detail
FROM cleanup_audit
WHERE kind = ANY (%(kinds)s) AND subject_id = 'pass' AND action IN ('finished', 'refused')
ORDER BY kind, audit_id DESC
