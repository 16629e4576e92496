-- Whether other live rows of the tenant, and of the brand, reference the same stored file.
SELECT EXISTS (
           SELECT FROM media_assets m
           WHERE m.tenant_id = %(tenant_id)s AND m.sha256 = %(sha256)s AND m.deleted_at IS NULL AND m.id <> %(id)s
             AND coalesce(m.metadata ->> 'object_key', m.sha256) = %(key)s) AS in_tenant,
       EXISTS (
           SELECT FROM media_assets m
           WHERE m.tenant_id = %(tenant_id)s AND m.sha256 = %(sha256)s AND m.deleted_at IS NULL AND m.id <> %(id)s
             AND coalesce(m.metadata ->> 'object_key', m.sha256) = %(key)s AND m.brand_id = %(brand_id)s) AS in_brand
