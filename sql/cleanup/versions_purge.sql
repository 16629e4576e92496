-- Versions that another one followed longer ago than the plan keeps: those below the newest one that old, the current one at most.
-- A body that waits in the spill keeps its version and all behind it.
WITH item AS (
    SELECT i.id, i.tenant_id, i.version FROM content_storage_metadata i
    WHERE i.id = %(id)s AND i.tenant_id = %(tenant_id)s FOR UPDATE SKIP LOCKED
), cut AS (
    SELECT CASE WHEN max(v.version) IS NOT NULL
                THEN least(max(v.version), (SELECT min(s.version) FROM content_body_spill s WHERE s.content_id = %(id)s)) END AS floor
    FROM item i JOIN content_versions v ON v.content_id = i.id AND v.tenant_id = i.tenant_id AND v.version <= i.version
    WHERE v.created_at <= clock_timestamp() - make_interval(days => (
        SELECT (%(kept_days)s::jsonb ->> coalesce(t.plan_tier, 'free'))::integer FROM tenants t WHERE t.id = i.tenant_id))
), gone AS (
    DELETE FROM content_versions v USING cut c
    WHERE v.content_id = %(id)s AND v.tenant_id = %(tenant_id)s AND v.version < c.floor
      AND NOT EXISTS (SELECT FROM legal_holds h WHERE h.tenant_id = v.tenant_id AND h.released_at IS NULL)
    RETURNING v.version, v.zerodb_row_id, v.storage_size_bytes
), floors AS (
    INSERT INTO retention_floors AS f (content_id, tenant_id, floor, run_id)
    SELECT %(id)s, %(tenant_id)s, c.floor, %(run_id)s FROM cut c WHERE EXISTS (SELECT FROM gone)
    ON CONFLICT (content_id) DO UPDATE
    SET floor = greatest(f.floor, excluded.floor), run_id = excluded.run_id, moved_at = clock_timestamp()
)
SELECT (SELECT floor FROM cut) AS floor, count(*) AS versions, coalesce(sum(storage_size_bytes), 0)::bigint AS size_bytes,
       coalesce(array_agg(zerodb_row_id ORDER BY version), '{}') AS documents
FROM gone
