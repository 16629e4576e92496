-- The latest state of every id in some buckets, tombstones too, and how often it is there.
SELECT entity_id, tenant_id, op, sync_id, row_sha256, copies
FROM (
    SELECT entity_id, tenant_id, op, sync_id, row_sha256,
        COUNT(*) OVER (PARTITION BY entity_id, sync_id) AS copies,
        ROW_NUMBER() OVER (PARTITION BY entity_id ORDER BY sync_id DESC, sync_part DESC, row_sha256) AS recency
    FROM `{table}`
    WHERE RIGHT(entity_id, @opened) IN UNNEST(@buckets)
)
WHERE recency = 1
