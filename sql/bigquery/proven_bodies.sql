-- Bodies of the history, of any age, that have the hash looked for. The hash is taken here, so that a column that lies does not count.
SELECT TO_HEX(SHA256(body)) AS found_sha256, ANY_VALUE(body) AS body FROM `{table}`
WHERE tenant_id IN UNNEST(@tenants) AND content_id IN UNNEST(@contents) AND body IS NOT NULL
    AND TO_HEX(SHA256(body)) IN UNNEST(@hashes)
GROUP BY found_sha256
