-- Files that failed: rows whose bytes could not be had or were refused, and stored files that could not be described.
SELECT tenant_id, id AS file, reason, waits, count(*) OVER () AS found
FROM (
    SELECT i.tenant_id, i.asset_id::text AS id, concat_ws(': ', i.reason, i.detail) AS reason, i.next_try IS NOT NULL AS waits,
           i.updated_at
    FROM media_ingest i JOIN media_assets a ON a.id = i.asset_id
    WHERE i.outcome IN ('failed', 'retry') AND a.deleted_at IS NULL
    UNION ALL
    SELECT p.tenant_id, p.sha256, p.failed_reason, p.retry_at IS NOT NULL, p.updated_at
    FROM media_processing p
    WHERE p.failed_reason IS NOT NULL
      AND EXISTS (SELECT FROM media_assets a WHERE a.tenant_id = p.tenant_id AND a.sha256 = p.sha256 AND a.deleted_at IS NULL)
) AS failed
ORDER BY updated_at DESC, id
LIMIT %(most)s
