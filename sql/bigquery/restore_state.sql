-- The state as of a sync, in a table that expires: each id's newest row up to it, in parts that fit one read session.
-- The first two digits of the id spread the sum over workers; a large row is a part of its own.
CREATE TABLE IF NOT EXISTS `{state}` CLUSTER BY part
OPTIONS (expiration_timestamp = TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL 7 DAY)) AS
SELECT entity_id, tenant_id, sync_id, row_json, row_sha256, {body} AS body, bytes,
  bucket * 1000000 + CASE
    WHEN bytes > 2000000 THEN 500000 + ROW_NUMBER() OVER (PARTITION BY bucket, bytes > 2000000 ORDER BY entity_id)
    ELSE CAST(FLOOR((SUM(CASE WHEN bytes > 2000000 THEN 0 ELSE bytes END) OVER (
      PARTITION BY bucket ORDER BY entity_id ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) - bytes) / 4000000) AS INT64)
  END AS part
FROM (
  SELECT *, CAST(CONCAT('0x', SUBSTR(entity_id, 1, 2)) AS INT64) AS bucket,
    BYTE_LENGTH(row_json) + IFNULL(BYTE_LENGTH({body}), 0) AS bytes
  FROM (
    SELECT *, ROW_NUMBER() OVER (PARTITION BY entity_id ORDER BY sync_id DESC, sync_part DESC, row_sha256) AS recency
    FROM `{table}` WHERE sync_id <= @sync_id
  )
  WHERE recency = 1 AND op <> 'delete' AND (
    @scope = 'everything' OR (@scope = 'tenants' AND tenant_id IN UNNEST(@ids))
    OR (@scope = 'content_ids' AND content_id IN UNNEST(@ids))
  )
)
