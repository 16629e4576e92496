-- Rows that restores of every remaining moment do without. Of each id, the newest state at or before its horizon stays: the
-- checkpoint; only where its payload and body have their hashes does it replace what is older (pass superseded). A checkpoint
-- that is a tombstone says no more than no state at all, once it is the only one (pass ended). The horizon of an id is the least
-- of all tenants that it ever had; a tenant that is not named has none.
SELECT tenant_id, entity_id, sync_id, sync_part, day, bytes, CASE WHEN recency > 1 THEN 'superseded' ELSE 'ended' END AS pass
FROM (
    SELECT tenant_id, entity_id, sync_id, sync_part, day, bytes, recency,
        MIN(CASE WHEN recency > 1 OR proven THEN 1 ELSE 0 END) OVER (PARTITION BY entity_id) AS replaces,
        MIN(CASE WHEN recency > 1 OR op = 'delete' THEN 1 ELSE 0 END) OVER (PARTITION BY entity_id) AS ended
    FROM (
        SELECT tenant_id, entity_id, sync_id, sync_part, op, day, bytes, proven,
            RANK() OVER (PARTITION BY entity_id ORDER BY sync_id DESC, sync_part DESC) AS recency
        FROM (
            SELECT h.tenant_id, h.entity_id, h.sync_id, h.sync_part, h.op, CAST(DATE(h.synced_at) AS STRING) AS day,
                BYTE_LENGTH(h.row_json) + IFNULL(BYTE_LENGTH({body}), 0) AS bytes,
                IFNULL(TO_HEX(SHA256(h.row_json)) = h.row_sha256 AND (NOT {has_body} OR h.op = 'delete' OR (
                    TO_HEX(SHA256({body})) = {body_sha256}
                    AND STRPOS(h.row_json, CONCAT('"body_sha256":"', {body_sha256}, '"')) > 0
                )), FALSE) AS proven,
                MIN(IFNULL(z.horizon, -1)) OVER (PARTITION BY h.entity_id) AS horizon
            FROM `{table}` AS h
            LEFT JOIN (
                SELECT SPLIT(pair, ':')[OFFSET(0)] AS tenant_id, CAST(SPLIT(pair, ':')[OFFSET(1)] AS INT64) AS horizon
                FROM UNNEST(@horizons) AS pair
            ) AS z ON z.tenant_id = h.tenant_id
        )
        WHERE sync_id <= horizon
    )
)
WHERE replaces = 1 AND (recency > 1 OR ended = 1)
