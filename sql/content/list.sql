-- A page of the tenant's items from the newest down, behind the key of the page before. A NULL filter filters nothing.
SELECT *, created_at::text AS created_key FROM content_storage_metadata
WHERE tenant_id = %(tenant_id)s
  AND (deleted_at IS NOT NULL) = %(deleted)s
  AND (%(after_created)s::timestamptz IS NULL OR (created_at, id) < (%(after_created)s::timestamptz, %(after_id)s::uuid))
  AND (%(content_type)s::text IS NULL OR content_type = %(content_type)s)
  AND (%(status)s::text IS NULL OR status = %(status)s)
  AND (%(campaign_space_id)s::uuid IS NULL OR campaign_space_id = %(campaign_space_id)s)
  AND (%(brand_id)s::uuid IS NULL OR brand_id = %(brand_id)s)
  AND (%(tag)s::text IS NULL OR metadata @> jsonb_build_object('tags', jsonb_build_array(%(tag)s::text)))
  AND (%(created_from)s::timestamptz IS NULL OR created_at >= %(created_from)s)
  AND (%(created_before)s::timestamptz IS NULL OR created_at < %(created_before)s)
  AND (%(title_contains)s::text IS NULL OR title ILIKE %(title_contains)s)
ORDER BY created_at DESC, id DESC
LIMIT %(limit)s
