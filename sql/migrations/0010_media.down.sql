-- Removes objects, variants and their use. Rows that share a file keep it in the oldest of them: one row a hash again.
DROP FUNCTION media_count(uuid, uuid, bigint, bigint, bigint);
CREATE OR REPLACE FUNCTION quota_stored(p_tenant uuid, p_brand uuid,
                             OUT bytes bigint, OUT items bigint, OUT media_files bigint, OUT media_bytes bigint)
LANGUAGE sql STABLE
AS $$
    SELECT c.bytes + m.bytes, c.items, m.files, m.bytes
    FROM (SELECT coalesce(sum(storage_size_bytes), 0)::bigint AS bytes, count(*) AS items FROM content_storage_metadata
          WHERE tenant_id = p_tenant AND deleted_at IS NULL AND (p_brand IS NULL OR brand_id = p_brand)) AS c,
         (SELECT coalesce(sum(size_bytes), 0)::bigint AS bytes, count(*) AS files FROM media_assets
          WHERE tenant_id = p_tenant AND deleted_at IS NULL AND (p_brand IS NULL OR brand_id = p_brand)) AS m
$$;
DROP TABLE media_objects, media_ingest, media_variants, media_near_duplicates, media_usage_logs, media_processing, media_superseded;
DROP INDEX media_assets_fresh;
DROP INDEX media_assets_tenant_sha256;
UPDATE media_assets m SET sha256 = NULL, status = 'referenced'
WHERE EXISTS (SELECT FROM media_assets o WHERE o.tenant_id = m.tenant_id AND o.sha256 = m.sha256
                AND (o.created_at, o.id) < (m.created_at, m.id));
CREATE UNIQUE INDEX media_assets_tenant_sha256 ON media_assets (tenant_id, sha256) WHERE sha256 IS NOT NULL;
