-- Tenants, and items that came from a legacy row.
SELECT (SELECT count(*) FROM tenants) AS tenants,
       (SELECT count(*) FROM content_storage_metadata
        WHERE source LIKE 'campaign\_assets:%' OR source LIKE 'content\_items:%') AS migrated
