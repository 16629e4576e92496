-- The oldest queued rows of the older shape of one tenant and one content type: that of the very oldest.
WITH waiting AS (
    SELECT j.id, coalesce(j.request_data ->> 'content_type', 'post') AS content_type, j.created_at
    FROM generation_jobs j WHERE j.queue_id = %(tenant_id)s AND j.completed_at IS NULL AND j.status = 'queued'
)
SELECT array_agg(t.id) AS ids, min(t.content_type) AS content_type
FROM (SELECT w.id, w.content_type FROM waiting w
      WHERE w.content_type = (SELECT o.content_type FROM waiting o ORDER BY o.created_at, o.id LIMIT 1)
      ORDER BY w.created_at, w.id LIMIT %(most)s) AS t
