-- What is left to remove of rows that this transaction removes: the next pass ends it, whoever is killed.
INSERT INTO cleanup_quarantine (kind, subject_id, tenant_id, run_id, state, file_fate, size_bytes, reason, predicate_version, row_json)
VALUES (%(kind)s, %(subject_id)s, %(tenant_id)s, %(run_id)s, 'deleting', 'none', %(size_bytes)s, %(reason)s, %(predicate_version)s,
        %(left)s)
ON CONFLICT (kind, subject_id) WHERE state IN ('moving', 'quarantined', 'restoring', 'deleting') DO NOTHING
RETURNING quarantine_id
