-- Tenants with media work to do: files to fetch or to adopt, files to describe, tags to ask for again.
SELECT tenant_id::text AS tenant_id, sum(files)::bigint AS files
FROM (
    SELECT m.tenant_id, count(*) AS files
    FROM media_assets m LEFT JOIN media_ingest i ON i.asset_id = m.id
    WHERE m.status <> 'stored' AND m.deleted_at IS NULL AND m.sha256 IS NULL
      AND (i.next_try <= clock_timestamp() OR (i.asset_id IS NULL AND m.source IS NULL AND m.status = 'referenced'))
    GROUP BY m.tenant_id
    UNION ALL
    SELECT i.tenant_id, count(*) FROM media_ingest i WHERE i.document_due GROUP BY i.tenant_id
    UNION ALL
    SELECT m.tenant_id, count(*)
    FROM media_assets m LEFT JOIN media_processing p ON p.tenant_id = m.tenant_id AND p.sha256 = m.sha256
    WHERE m.status = 'stored' AND m.deleted_at IS NULL AND NOT m.metadata ? 'file'
      AND (p.retry_at IS NULL OR p.retry_at <= clock_timestamp())
    GROUP BY m.tenant_id
    UNION ALL
    SELECT p.tenant_id, count(*) FROM media_processing p
    WHERE %(tags)s AND p.tags_state = 'wanted' AND p.tags_after <= clock_timestamp() AND p.made_with IS NOT NULL
    GROUP BY p.tenant_id
) AS waiting
GROUP BY tenant_id
ORDER BY tenant_id
