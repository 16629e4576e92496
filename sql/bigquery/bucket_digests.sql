-- The current rows of a history in buckets by the last digits of the id: how many, copies too many, and sums over the four 32-bit
-- words of their digests; a sum over more bits would not fit INT64. What a digest binds, and its twin, are in integrity/digests.py.
SELECT bucket, COUNT(*) AS present, SUM(copies - 1) AS surplus,
    SUM(CAST(CONCAT('0x', SUBSTR(digest, 1, 8)) AS INT64)) AS first,
    SUM(CAST(CONCAT('0x', SUBSTR(digest, 9, 8)) AS INT64)) AS second,
    SUM(CAST(CONCAT('0x', SUBSTR(digest, 17, 8)) AS INT64)) AS third,
    SUM(CAST(CONCAT('0x', SUBSTR(digest, 25, 8)) AS INT64)) AS fourth
FROM (
    SELECT RIGHT(entity_id, @digits) AS bucket, copies,
        TO_HEX(MD5(CONCAT(entity_id, '|', tenant_id, '|', row_sha256))) AS digest
    FROM (
        SELECT entity_id, tenant_id, op, row_sha256,
            COUNT(*) OVER (PARTITION BY entity_id, sync_id) AS copies,
            ROW_NUMBER() OVER (PARTITION BY entity_id ORDER BY sync_id DESC, sync_part DESC, row_sha256) AS recency
        FROM `{table}`
        WHERE entity_id NOT IN UNNEST(@left_out)
        AND (ARRAY_LENGTH(@buckets) = 0 OR RIGHT(entity_id, @opened) IN UNNEST(@buckets))
    )
    WHERE recency = 1 AND op <> 'delete' AND (@tenant = '' OR tenant_id = @tenant)
)
GROUP BY bucket
