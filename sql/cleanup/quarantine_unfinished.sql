-- What a killed pass left half-way, or a save called back; by keyset, so that one that fails does not stop the others.
SELECT quarantine_id, subject_id, tenant_id, run_id, bucket, path, quarantine_key, file_key, size_bytes, state, file_fate, reason,
       quarantined_at, error
FROM cleanup_quarantine
WHERE kind = 'orphaned_render' AND state = %(state)s AND quarantine_id > %(after)s ORDER BY quarantine_id LIMIT %(batch)s
