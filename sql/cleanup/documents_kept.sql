-- Documents in quarantine, of a run or below a prefix or all, those that are due or all, in order of their ids.
SELECT quarantine_id, subject_id, tenant_id, size_bytes, quarantined_at, state, row_json
FROM cleanup_quarantine
WHERE kind = 'document' AND state = ANY (%(states)s) AND (%(run_id)s::text IS NULL OR run_id = %(run_id)s)
  AND (%(prefix)s::text IS NULL OR starts_with(subject_id, %(prefix)s))
  AND (NOT %(due)s OR delete_after <= clock_timestamp())
  AND (%(after)s::uuid IS NULL OR quarantine_id > %(after)s)
ORDER BY quarantine_id LIMIT %(limit)s
