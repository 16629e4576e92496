-- A deleted item past its plan, locked against whoever brings it back; one that somebody works on is left for the next pass.
SELECT i.id FROM content_storage_metadata i
WHERE i.id = %(id)s AND i.tenant_id = %(tenant_id)s
  AND i.deleted_at <= clock_timestamp() - make_interval(days => (
      SELECT (%(kept_days)s::jsonb ->> coalesce(t.plan_tier, 'free'))::integer FROM tenants t WHERE t.id = i.tenant_id))
FOR UPDATE SKIP LOCKED
