-- One partition before its job: the rows that stay with a digest over what a restore reads of them, and those that go.
SELECT doomed, COUNT(*) AS present, IFNULL(SUM(bytes), 0) AS bytes,
    IFNULL(SUM(CAST(CONCAT('0x', SUBSTR(digest, 1, 8)) AS INT64)), 0) AS first,
    IFNULL(SUM(CAST(CONCAT('0x', SUBSTR(digest, 9, 8)) AS INT64)), 0) AS second,
    IFNULL(SUM(CAST(CONCAT('0x', SUBSTR(digest, 17, 8)) AS INT64)), 0) AS third,
    IFNULL(SUM(CAST(CONCAT('0x', SUBSTR(digest, 25, 8)) AS INT64)), 0) AS fourth
FROM (
    SELECT IFNULL(d.doomed, 0) AS doomed, IFNULL(d.bytes, 0) AS bytes,
        TO_HEX(MD5(CONCAT(h.entity_id, '|', h.tenant_id, '|', CAST(h.sync_id AS STRING), '|', CAST(h.sync_part AS STRING), '|',
            CAST(UNIX_MICROS(h.synced_at) AS STRING), '|', h.op, '|', h.row_sha256, '|', IFNULL({body_sha256}, '')))) AS digest
    FROM `{table}` AS h
    LEFT JOIN (
        SELECT entity_id, sync_id, sync_part, 1 AS doomed, MAX(bytes) AS bytes FROM `{stage}`
        WHERE day = @day AND pass = @pass GROUP BY entity_id, sync_id, sync_part
    ) AS d ON d.entity_id = h.entity_id AND d.sync_id = h.sync_id AND d.sync_part = h.sync_part
    WHERE h.synced_at >= @low AND h.synced_at < @high
)
GROUP BY doomed
