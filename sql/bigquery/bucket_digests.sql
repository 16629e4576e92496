-- The current rows of a history in buckets by hash of id: how many, copies too many, and 128 bits of sums over SHA-256 in
-- parts of 32 and 28 bits, since the sum of 60 does not fit INT64. The twin of integrity/bucket_digests_*.sql.
SELECT bucket, COUNT(*) AS present, SUM(copies - 1) AS surplus,
    SUM(CAST(CONCAT('0x', SUBSTR(digest, 1, 8)) AS INT64)) AS first_high,
    SUM(CAST(CONCAT('0x', SUBSTR(digest, 9, 7)) AS INT64)) AS first_low,
    SUM(CAST(CONCAT('0x', SUBSTR(digest, 16, 8)) AS INT64)) AS second_high,
    SUM(CAST(CONCAT('0x', SUBSTR(digest, 24, 7)) AS INT64)) AS second_low
FROM (
    SELECT SUBSTR(TO_HEX(MD5(entity_id)), 1, @digits) AS bucket, copies,
        TO_HEX(SHA256(CONCAT(entity_id, '|', tenant_id, '|', row_sha256))) AS digest
    FROM (
        SELECT entity_id, tenant_id, op, row_sha256,
            COUNT(*) OVER (PARTITION BY entity_id, sync_id) AS copies,
            ROW_NUMBER() OVER (PARTITION BY entity_id ORDER BY sync_id DESC, sync_part DESC, row_sha256) AS recency
        FROM `{table}`
        WHERE entity_id NOT IN UNNEST(@left_out)
        AND (ARRAY_LENGTH(@buckets) = 0 OR SUBSTR(TO_HEX(MD5(entity_id)), 1, @opened) IN UNNEST(@buckets))
    )
    WHERE recency = 1 AND op <> 'delete' AND (@tenant = '' OR tenant_id = @tenant)
)
GROUP BY bucket
