-- Of these, which kept their file for other renders, and would be the last to name it; of several that go together, one.
SELECT q.quarantine_id FROM cleanup_quarantine q
WHERE q.quarantine_id = ANY(%(ids)s) AND q.file_fate = 'shared' AND NOT EXISTS (
    SELECT FROM render_jobs o
    WHERE content_render_file(o.output_url) = q.file_key AND o.output_url IS NOT NULL AND o.id::text <> q.subject_id
      AND NOT EXISTS (SELECT FROM cleanup_quarantine b WHERE b.quarantine_id = ANY(%(ids)s) AND b.file_fate = 'shared'
                        AND b.subject_id = o.id::text AND b.subject_id < q.subject_id))
