-- Legacy rows to convert. Timestamps travel as PostgreSQL's text: Python has no infinity and no year before 1.
SELECT l.id, l.tenant_id, l.brand_id, l.user_id, l.title, l.content_body, l.content_type, l.status,
       l.content_metadata::text AS metadata_text,
       t.id IS NOT NULL AS tenant_known,
       row_to_json(l)::text AS original,
       coalesce(sane.created, sane.updated, '1970-01-01 00:00:00+00')::text AS created_text,
       coalesce(sane.updated, sane.created, '1970-01-01 00:00:00+00')::text AS updated_text,
       CASE WHEN sane.created IS NULL THEN l.created_at::text END AS legacy_created_at,
       CASE WHEN sane.updated IS NULL THEN l.updated_at::text END AS legacy_updated_at,
       sane.created IS NULL OR (sane.updated IS NULL AND l.updated_at IS NOT NULL) AS timestamp_repaired
FROM content_items l
LEFT JOIN tenants t ON t.id = l.tenant_id
CROSS JOIN LATERAL (
    SELECT CASE WHEN l.created_at >= '1970-01-01 00:00:00+00' AND isfinite(l.created_at) THEN l.created_at END AS created,
           CASE WHEN l.updated_at >= '1970-01-01 00:00:00+00' AND isfinite(l.updated_at) THEN l.updated_at END AS updated
) AS sane
WHERE l.id = ANY (%(ids)s)
ORDER BY l.id
