-- Good is no row: each one is a transaction of the last day that changed or deleted a tenth of a table (and at least 20 rows) at once.
-- `began` is the moment to restore to the second before; `one_tenant` is set where all of its rows are of one tenant.
WITH touched AS (
    SELECT c.change_xid, c.entity, CASE c.op WHEN 'D' THEN 'delete' ELSE 'update' END AS action,
           count(DISTINCT c.entity_id) AS rows, count(DISTINCT c.tenant_id) AS tenants, min(c.tenant_id::text) AS first_tenant,
           min(c.changed_at) AS began, max(c.changed_at) AS ended
    FROM content_changes c
    WHERE c.op IN ('U', 'D') AND c.entity <> 'heartbeat' AND c.changed_at > now() - interval '1 day'
    GROUP BY 1, 2, 3
    HAVING count(DISTINCT c.entity_id) >= 20
), held AS (
    SELECT 'content_storage' AS entity, 'content_storage_metadata' AS table_name, count(*) AS present FROM content_storage_metadata
    UNION ALL
    SELECT 'content_versions', 'content_versions', count(*) FROM content_versions
    UNION ALL
    SELECT 'content_media', 'media_assets', count(*) FROM media_assets
)
SELECT t.change_xid::text AS transaction, h.table_name, t.action, t.rows, h.present AS rows_left, t.tenants,
       CASE WHEN t.tenants = 1 THEN t.first_tenant END AS one_tenant, t.began, t.ended
FROM touched t
JOIN held h USING (entity)
WHERE t.rows * 10 >= h.present + CASE t.action WHEN 'delete' THEN t.rows ELSE 0 END
ORDER BY t.began, h.table_name
