-- The stored files that an item's rows name, locked in order: nobody begins or ends to reference them until the transaction ends.
SELECT FROM media_objects o
WHERE o.tenant_id = %(tenant_id)s AND o.key IN (
    SELECT coalesce(m.metadata ->> 'object_key', m.sha256) FROM media_assets m
    WHERE m.content_id = %(id)s AND m.tenant_id = %(tenant_id)s AND m.deleted_at IS NULL)
ORDER BY o.key FOR UPDATE
