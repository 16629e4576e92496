-- What the window changed in media_assets, by key: the row as it is now, or the tombstone with the row as it last was.
-- An id that was deleted behind the window has neither; the window of that delete brings its tombstone.
WITH changed AS (
    SELECT entity_id, max(change_id) FILTER (WHERE op = 'D') AS last_delete
    FROM content_changes
    WHERE entity = 'content_media' AND op <> 'T' AND change_xid >= %(low)s::xid8 AND change_xid < %(high)s::xid8
    GROUP BY entity_id
)
SELECT CASE WHEN r.id IS NULL THEN 'delete' ELSE 'upsert' END AS op,
       c.entity_id::text AS entity_id,
       coalesce(r.tenant_id, d.tenant_id)::text AS tenant_id,
       coalesce(r.content_id::text, d.last_row::json ->> 'content_id') AS content_id,
       r.brand_id::text AS brand_id, r.kind, r.url, r.mime_type, r.size_bytes, r.sha256, r.status,
       CASE WHEN r.created_at >= '0001-01-01 00:00:00+00' AND r.created_at < '10000-01-01 00:00:00+00' THEN r.created_at END AS created_at,
       CASE WHEN r.updated_at >= '0001-01-01 00:00:00+00' AND r.updated_at < '10000-01-01 00:00:00+00' THEN r.updated_at END AS updated_at,
       CASE WHEN r.deleted_at >= '0001-01-01 00:00:00+00' AND r.deleted_at < '10000-01-01 00:00:00+00' THEN r.deleted_at END AS deleted_at,
       coalesce(row_to_json(r)::text, d.last_row) AS row_json
FROM changed c
LEFT JOIN media_assets r ON r.id = c.entity_id
LEFT JOIN content_changes d
    ON d.change_id = c.last_delete AND r.id IS NULL AND d.change_xid >= %(low)s::xid8 AND d.change_xid < %(high)s::xid8
WHERE (r.id IS NOT NULL OR d.change_id IS NOT NULL) AND (%(after)s::uuid IS NULL OR c.entity_id > %(after)s)
ORDER BY c.entity_id
