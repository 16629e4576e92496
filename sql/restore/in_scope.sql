-- Rows of the scope that the target has: what is above the rows of the history is newer than the history.
SELECT count(*) AS rows FROM {target}
WHERE %(scope)s = 'everything' OR (%(scope)s = 'tenants' AND tenant_id = ANY (%(ids)s::uuid[]))
   OR (%(scope)s = 'content_ids' AND {content} = ANY (%(ids)s::uuid[]))
