-- The tenant's topics that no item was made for: what a batch without named topics takes.
SELECT t.id, t.topic_title, t.keywords
FROM topics t
WHERE t.tenant_id = %(tenant_id)s AND btrim(coalesce(t.topic_title, '')) <> ''
  AND NOT EXISTS (SELECT FROM generation_jobs j WHERE j.topic_id = t.id)
ORDER BY t.id
LIMIT %(count)s
