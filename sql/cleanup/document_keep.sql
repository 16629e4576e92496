-- A document that is about to leave the document store, kept whole before it does.
INSERT INTO cleanup_quarantine (kind, subject_id, tenant_id, run_id, state, file_fate, size_bytes, reason, predicate_version, delete_after, row_json)
VALUES ('document', %(subject_id)s, %(tenant_id)s, %(run_id)s, 'moving', 'none', %(size_bytes)s, %(reason)s, %(predicate_version)s,
        clock_timestamp() + %(grace)s::interval, %(row_json)s)
ON CONFLICT (kind, subject_id) WHERE state IN ('moving', 'quarantined', 'restoring', 'deleting') DO NOTHING
RETURNING quarantine_id, subject_id, tenant_id, size_bytes, quarantined_at, state, row_json
