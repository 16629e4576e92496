-- An item with its versions and waiting bodies, for good; its files are left to cleanup. BigQuery keeps the history of all.
WITH item AS (
    DELETE FROM content_storage_metadata i
    WHERE i.id = %(id)s AND i.tenant_id = %(tenant_id)s
      AND NOT EXISTS (SELECT FROM legal_holds h WHERE h.tenant_id = i.tenant_id AND h.released_at IS NULL)
      -- Retention gives the days that each plan keeps. An unknown plan or tenant, and a plan without an end, compare with NULL.
      AND (%(kept_days)s::jsonb IS NULL OR i.deleted_at <= clock_timestamp() - make_interval(days => (
          SELECT (%(kept_days)s::jsonb ->> coalesce(t.plan_tier, 'free'))::integer FROM tenants t WHERE t.id = i.tenant_id)))
    RETURNING *
), done AS (
    INSERT INTO purged_sources (source, tenant_id, content_id)
    SELECT i.source, i.tenant_id, i.id FROM item i WHERE i.source ~ '^(campaign_assets|content_items):'
    ON CONFLICT (source) DO UPDATE SET tenant_id = excluded.tenant_id, content_id = excluded.content_id, purged_at = excluded.purged_at
), waiting AS (
    DELETE FROM content_body_spill WHERE content_id = %(id)s AND tenant_id = %(tenant_id)s
), history AS (
    DELETE FROM content_versions WHERE content_id = %(id)s AND tenant_id = %(tenant_id)s RETURNING zerodb_row_id
), files AS (
    UPDATE media_assets SET deleted_at = clock_timestamp(), updated_at = greatest(clock_timestamp(), updated_at)
    WHERE content_id = %(id)s AND tenant_id = %(tenant_id)s AND deleted_at IS NULL AND EXISTS (SELECT FROM item)
    RETURNING id, brand_id, size_bytes, coalesce(metadata ->> 'object_key', sha256) AS key
), kept AS (
    -- A stored file counts once a tenant and once in each brand, for as long as a row there names it.
    SELECT m.brand_id, coalesce(m.metadata ->> 'object_key', m.sha256) AS key FROM media_assets m
    WHERE m.tenant_id = %(tenant_id)s AND m.deleted_at IS NULL AND m.sha256 IN (SELECT a.sha256 FROM media_assets a JOIN files f ON f.id = a.id)
      AND m.id NOT IN (SELECT id FROM files)
), freed AS (
    SELECT coalesce(key, id::text) AS key, max(size_bytes) AS bytes FROM files
    WHERE key IS NULL OR key NOT IN (SELECT key FROM kept) GROUP BY 1
), freed_in_brand AS (
    SELECT f.brand_id, coalesce(f.key, f.id::text) AS key, max(f.size_bytes) AS bytes FROM files f
    WHERE f.brand_id IS NOT NULL AND NOT EXISTS (SELECT FROM kept k WHERE k.key = f.key AND k.brand_id = f.brand_id) GROUP BY 1, 2
)
SELECT i.*, (SELECT coalesce(array_agg(zerodb_row_id), '{}') FROM history) AS documents,
       (SELECT count(*) FROM freed) AS media_files, (SELECT coalesce(sum(bytes), 0)::bigint FROM freed) AS media_bytes,
       (SELECT coalesce(jsonb_object_agg(b.brand_id, b.bytes), '{}')
        FROM (SELECT brand_id, sum(bytes) AS bytes FROM freed_in_brand GROUP BY brand_id) AS b) AS brand_media_bytes
FROM item i
