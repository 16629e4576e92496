-- Which of these keys are in neither the table nor what is still to be replicated: BigQuery has them, PostgreSQL does not.
SELECT k.id::text AS entity_id
FROM unnest(%(ids)s::uuid[]) AS k (id)
WHERE NOT EXISTS (SELECT FROM content_storage_metadata r WHERE %(entity)s = 'content_storage' AND r.id = k.id)
  AND NOT EXISTS (SELECT FROM content_versions r WHERE %(entity)s = 'content_versions' AND r.id = k.id)
  AND NOT EXISTS (SELECT FROM media_assets r WHERE %(entity)s = 'content_media' AND r.id = k.id)
  AND NOT EXISTS (
      SELECT FROM content_changes c, replication_cursor p
      WHERE c.entity = %(entity)s AND c.entity_id = k.id AND c.change_xid >= p.next_xid
  )
