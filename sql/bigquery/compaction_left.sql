-- One partition as it is: how many rows, and the digest over what a restore reads of them, as compaction_part.sql takes it.
SELECT COUNT(*) AS present,
    IFNULL(SUM(CAST(CONCAT('0x', SUBSTR(digest, 1, 8)) AS INT64)), 0) AS first,
    IFNULL(SUM(CAST(CONCAT('0x', SUBSTR(digest, 9, 8)) AS INT64)), 0) AS second,
    IFNULL(SUM(CAST(CONCAT('0x', SUBSTR(digest, 17, 8)) AS INT64)), 0) AS third,
    IFNULL(SUM(CAST(CONCAT('0x', SUBSTR(digest, 25, 8)) AS INT64)), 0) AS fourth
FROM (
    SELECT TO_HEX(MD5(CONCAT(h.entity_id, '|', h.tenant_id, '|', CAST(h.sync_id AS STRING), '|', CAST(h.sync_part AS STRING), '|',
        CAST(UNIX_MICROS(h.synced_at) AS STRING), '|', h.op, '|', h.row_sha256, '|', IFNULL({body_sha256}, '')))) AS digest
    FROM `{table}` AS h
    WHERE h.synced_at >= @low AND h.synced_at < @high
)
