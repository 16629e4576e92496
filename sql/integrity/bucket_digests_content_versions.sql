-- The rows of content_versions in buckets by hash of id: how many, and two 60-bit sums over the SHA-256 of what replication
-- sends, bound to id and tenant. The twin of bigquery/bucket_digests.sql. OFFSET 0 keeps the hash from being computed twice a row.
SELECT d.bucket, count(*) AS present,
       sum(('x' || substr(d.digest, 1, 15))::bit(60)::bigint) AS first_sum,
       sum(('x' || substr(d.digest, 16, 15))::bit(60)::bigint) AS second_sum
FROM (
    SELECT left(md5(t.id::text), %(digits)s) AS bucket,
           encode(sha256(convert_to(t.id || '|' || t.tenant_id || '|' ||
               encode(sha256(convert_to(row_to_json(t)::text, 'UTF8')), 'hex'), 'UTF8')), 'hex') AS digest
    FROM content_versions t
    WHERE (%(tenant)s::uuid IS NULL OR t.tenant_id = %(tenant)s::uuid)
      AND (%(ids)s::uuid[] IS NULL OR t.id = ANY (%(ids)s::uuid[]))
      AND (%(buckets)s::text[] IS NULL OR left(md5(t.id::text), %(opened)s) = ANY (%(buckets)s::text[]))
    OFFSET 0
) d
GROUP BY d.bucket
