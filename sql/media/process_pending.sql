-- Stored files of a tenant that have no variants yet, or whose rows do not all carry their description; oldest first.
-- Rows that name a file which failed for good are among them, until they say so. With `remake`, also those whose variants were made with other sizes or quality.
SELECT a.sha256, count(*) OVER () AS waiting
FROM (
    SELECT sha256, min(created_at) AS first_at, bool_and(metadata ? 'file') AS described
    FROM media_assets
    WHERE tenant_id = %(tenant_id)s AND status = 'stored' AND sha256 IS NOT NULL AND deleted_at IS NULL
    GROUP BY sha256
) AS a
LEFT JOIN media_processing p ON p.tenant_id = %(tenant_id)s AND p.sha256 = a.sha256
WHERE EXISTS (SELECT FROM media_objects o
              WHERE o.tenant_id = %(tenant_id)s AND o.sha256 = a.sha256 AND o.state = 'stored')
  AND (p.retry_at IS NULL OR p.retry_at <= clock_timestamp())
  AND (p.sha256 IS NULL
       OR p.made_with IS NULL
       OR (p.made_with IS NOT NULL AND NOT a.described)
       OR (%(remake)s AND p.made_with <> %(made_with)s))
ORDER BY a.first_at, a.sha256
LIMIT %(most)s
