-- What is saved though no trigger noted it, and files that a render beside it needs: by the references themselves.
UPDATE cleanup_quarantine q SET state = 'restoring', error = NULL
WHERE q.kind = 'orphaned_render' AND q.state IN ('moving', 'quarantined', 'deleting') AND q.file_fate <> 'removing'
  AND (EXISTS (SELECT FROM user_assets a WHERE content_render_reference(a.metadata) = CASE WHEN q.kind = 'orphaned_render' THEN q.subject_id::uuid END)
       OR (q.file_fate IN ('moved', 'waiting') AND EXISTS (
           SELECT FROM render_jobs o
           WHERE content_render_file(o.output_url) = q.file_key AND o.output_url IS NOT NULL AND o.id <> CASE WHEN q.kind = 'orphaned_render' THEN q.subject_id::uuid END
             AND (o.status IS DISTINCT FROM 'completed' OR coalesce(greatest(o.created_at, o.updated_at) > %(cutoff)s, true)
                  OR EXISTS (SELECT FROM user_assets a WHERE content_render_reference(a.metadata) = o.id)))))
