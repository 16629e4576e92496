-- Of these, whose copy a render beside it would come back from that has none in quarantine: not there yet, or found the file gone.
SELECT q.quarantine_id FROM cleanup_quarantine q
WHERE q.quarantine_id = ANY(%(ids)s) AND q.file_fate = 'moved' AND EXISTS (
    SELECT FROM render_jobs o
    WHERE content_render_file(o.output_url) = q.file_key AND o.output_url IS NOT NULL AND o.id::text <> q.subject_id
      AND NOT EXISTS (SELECT FROM cleanup_quarantine b WHERE b.kind = 'orphaned_render' AND b.subject_id = o.id::text
                        AND b.state IN ('quarantined', 'restoring', 'deleting') AND b.file_fate = 'moved'))
