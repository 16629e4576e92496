-- Versions of a tenant that are older than its plan keeps and have older ones before them: those were superseded before that time.
SELECT v.content_id AS id, v.created_at::text AS created_at, t.plan_tier, o.versions, o.size_bytes
FROM tenants t
JOIN content_versions v ON v.tenant_id = t.id
JOIN content_storage_metadata i ON i.id = v.content_id AND i.tenant_id = v.tenant_id AND v.version <= i.version
CROSS JOIN LATERAL (
    SELECT count(*) AS versions, coalesce(sum(w.storage_size_bytes), 0)::bigint AS size_bytes
    FROM content_versions w WHERE w.content_id = v.content_id AND w.tenant_id = v.tenant_id AND w.version < v.version
) AS o
WHERE t.id = %(tenant_id)s AND v.version > 1 AND o.versions > 0
  AND v.created_at <= clock_timestamp() - make_interval(
      days => (%(kept_days)s::jsonb ->> coalesce(t.plan_tier, 'free'))::integer)
  AND (%(after)s::timestamptz IS NULL OR (v.created_at, v.content_id) > (%(after)s::timestamptz, %(after_id)s::uuid))
  -- The newest of them only: it removes all that went before.
  AND NOT EXISTS (SELECT FROM content_versions n
                  WHERE n.content_id = v.content_id AND n.tenant_id = v.tenant_id AND n.version > v.version AND n.version <= i.version
                    AND n.created_at <= clock_timestamp() - make_interval(
                        days => (%(kept_days)s::jsonb ->> coalesce(t.plan_tier, 'free'))::integer))
ORDER BY v.created_at, v.content_id LIMIT %(limit)s
