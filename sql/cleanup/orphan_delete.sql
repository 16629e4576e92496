-- The delete repeats its own predicate, under the locks that were taken before.
DELETE FROM render_jobs r
WHERE r.id = ANY(%(ids)s) AND r.status = 'completed' AND r.output_url <> '' AND greatest(r.created_at, r.updated_at) <= %(cutoff)s
  AND NOT EXISTS (SELECT FROM user_assets a WHERE content_render_reference(a.metadata) = r.id)
RETURNING id
