-- How many references of a tenant nobody asked for yet, at most so many.
SELECT count(*) AS rows FROM (
    SELECT 1 FROM media_assets m
    WHERE m.tenant_id = %(tenant_id)s AND m.status = 'referenced' AND m.sha256 IS NULL AND m.deleted_at IS NULL
      AND NOT EXISTS (SELECT FROM media_ingest i WHERE i.asset_id = m.id)
    LIMIT %(most)s
) AS found
