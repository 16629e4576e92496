-- Which of these files of a bucket no render names, whatever form its address has, and none that is on its way into quarantine or back.
SELECT k.key FROM unnest(%(keys)s::text[]) AS k (key)
CROSS JOIN LATERAL (SELECT md5(convert_to(%(bucket)s || '/' || k.key, 'UTF8'))::uuid AS file_key) AS f
WHERE NOT EXISTS (SELECT FROM render_jobs r WHERE content_render_file(r.output_url) = f.file_key AND r.output_url IS NOT NULL)
  AND NOT EXISTS (SELECT FROM cleanup_quarantine q WHERE q.file_key = f.file_key AND q.quarantine_key IS NOT NULL
                    AND q.state IN ('moving', 'quarantined', 'restoring', 'deleting'))
