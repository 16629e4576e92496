-- How many there are in each state, so that nobody takes what is deleted for brought back.
SELECT state, count(*) AS rows FROM cleanup_quarantine
WHERE kind = 'orphaned_render' AND (%(run_id)s::text IS NULL OR run_id = %(run_id)s::text)
  AND (%(bucket)s::text IS NULL OR bucket = %(bucket)s::text AND (%(path)s = '' OR path = %(path)s OR starts_with(path, %(path)s || '/')))
GROUP BY state
