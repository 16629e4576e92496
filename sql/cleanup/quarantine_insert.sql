-- The intent, with the row as it is: committed before anything moves.
INSERT INTO cleanup_quarantine (quarantine_id, kind, subject_id, tenant_id, run_id, bucket, path, quarantine_key, file_key, state,
                                file_fate, reason, predicate_version, delete_after, row_json)
VALUES (%(quarantine_id)s, 'orphaned_render', %(subject_id)s, %(tenant_id)s, %(run_id)s, %(bucket)s, %(path)s, %(quarantine_key)s,
        %(file_key)s, %(state)s, %(file_fate)s, %(reason)s, %(predicate_version)s, clock_timestamp() + %(grace)s,
        (SELECT to_jsonb(r) FROM render_jobs r WHERE r.id = %(job_id)s))
RETURNING quarantine_id, subject_id, tenant_id, run_id, bucket, path, quarantine_key, file_key, size_bytes, state, file_fate, reason,
          quarantined_at
