-- Rows of a tenant whose file is to be fetched, or whose document lags behind them; the longest waiting first.
-- What migration made names its legacy row in `source` and is a reference only, until a row of media_ingest asks for it.
SELECT id FROM (
    (SELECT m.id, i.next_try AS since FROM media_ingest i JOIN media_assets m ON m.id = i.asset_id
     WHERE i.tenant_id = %(tenant_id)s AND i.next_try <= clock_timestamp() AND m.sha256 IS NULL AND m.deleted_at IS NULL
     ORDER BY i.next_try LIMIT %(most)s)
    UNION
    (SELECT m.id, i.updated_at FROM media_ingest i JOIN media_assets m ON m.id = i.asset_id
     WHERE i.tenant_id = %(tenant_id)s AND i.document_due AND m.deleted_at IS NULL
     ORDER BY i.updated_at LIMIT %(most)s)
    UNION
    (SELECT m.id, m.created_at FROM media_assets m
     WHERE m.tenant_id = %(tenant_id)s AND m.sha256 IS NULL AND m.source IS NULL AND m.status = 'referenced'
       AND m.deleted_at IS NULL AND NOT EXISTS (SELECT FROM media_ingest i WHERE i.asset_id = m.id)
     ORDER BY m.created_at, m.id LIMIT %(most)s)
) AS waiting
GROUP BY id
ORDER BY min(since), id
LIMIT %(most)s
