-- Added in the transaction that does what the line says.
INSERT INTO cleanup_audit (run_id, kind, action, tenant_id, subject_id, location, size_bytes, reason, predicate_version,
                           quarantined_at, detail)
VALUES (%(run_id)s, %(kind)s, %(action)s, %(tenant_id)s, %(subject_id)s, %(location)s, %(size_bytes)s, %(reason)s,
        %(predicate_version)s, %(quarantined_at)s, %(detail)s)
