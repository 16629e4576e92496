-- Deleted items of a tenant past its plan, the oldest first. A time travels as text: legacy ones are out of Python's range.
SELECT i.id, i.deleted_at::text AS deleted_at, i.storage_size_bytes AS size_bytes, t.plan_tier
FROM tenants t JOIN content_storage_metadata i ON i.tenant_id = t.id
WHERE t.id = %(tenant_id)s
  AND i.deleted_at <= clock_timestamp() - make_interval(
      days => (%(kept_days)s::jsonb ->> coalesce(t.plan_tier, 'free'))::integer)
  AND (%(after)s::timestamptz IS NULL OR (i.deleted_at, i.id) > (%(after)s::timestamptz, %(after_id)s::uuid))
ORDER BY i.deleted_at, i.id LIMIT %(limit)s
