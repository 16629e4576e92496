-- Removals that were begun: rows are gone, documents or files are not. In order of their ids.
SELECT quarantine_id, kind, subject_id, tenant_id, size_bytes, reason, quarantined_at, row_json AS "left"
FROM cleanup_quarantine
WHERE kind = ANY (%(kinds)s) AND state = 'deleting' AND (%(after)s::uuid IS NULL OR quarantine_id > %(after)s)
ORDER BY quarantine_id LIMIT %(limit)s
