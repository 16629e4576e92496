-- The row of a deleted file past its plan, with what was noted about it; one that somebody works on is left for the next pass.
WITH chosen AS (
    SELECT m.id FROM media_assets m WHERE m.id = %(id)s AND m.deleted_at IS NOT NULL FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM media_assets m USING chosen c
    WHERE m.id = c.id AND m.tenant_id = %(tenant_id)s
      AND NOT EXISTS (SELECT FROM legal_holds h WHERE h.tenant_id = m.tenant_id AND h.released_at IS NULL)
      AND m.deleted_at <= clock_timestamp() - make_interval(days => (
          SELECT (%(kept_days)s::jsonb ->> coalesce(t.plan_tier, 'free'))::integer FROM tenants t WHERE t.id = m.tenant_id))
    RETURNING m.id, m.content_id, m.zerodb_row_id, m.size_bytes, coalesce(m.metadata ->> 'object_key', m.sha256) AS key,
              m.deleted_at::text AS deleted_at
), asked AS (
    DELETE FROM media_ingest i USING gone g WHERE i.asset_id = g.id
), used AS (
    DELETE FROM media_usage_logs u USING gone g WHERE u.tenant_id = %(tenant_id)s AND u.asset_id = g.id
)
SELECT * FROM gone
