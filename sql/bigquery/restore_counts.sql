-- What a restore would bring back: rows, bytes of their bodies, and a sum that changes with any row that another sync
-- wrote. Reads only narrow columns, so that looking is cheap.
SELECT COUNT(*) AS row_count, IFNULL(SUM(body_size), 0) AS body_bytes, IFNULL(SUM(MOD(sync_id, 1000000007)), 0) AS state_sum
FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY entity_id ORDER BY sync_id DESC, sync_part DESC) AS recency
  FROM (SELECT entity_id, tenant_id, content_id, sync_id, sync_part, op, {size} AS body_size FROM `{table}`
        WHERE sync_id <= @sync_id)
)
WHERE recency = 1 AND op <> 'delete' AND (
  @scope = 'everything' OR (@scope = 'tenants' AND tenant_id IN UNNEST(@ids))
  OR (@scope = 'content_ids' AND content_id IN UNNEST(@ids))
)
