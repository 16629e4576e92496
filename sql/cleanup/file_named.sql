-- Whether a row of any tenant names a file of this key at this place. A row whose object is not known yet, as after a restore, counts.
SELECT EXISTS (SELECT FROM media_objects o WHERE o.key = %(key)s AND (o.tenant_id = %(tenant_id)s OR o.location = %(location)s))
    OR EXISTS (SELECT FROM media_assets m
               WHERE m.tenant_id = %(tenant_id)s AND m.sha256 = left(%(key)s, 64)
                 AND coalesce(m.metadata ->> 'object_key', m.sha256) = %(key)s)
    OR EXISTS (SELECT FROM media_variants v
               WHERE v.key = %(key)s
                 AND (v.tenant_id = %(tenant_id)s
                      OR EXISTS (SELECT FROM media_objects o WHERE o.tenant_id = v.tenant_id AND o.sha256 = v.sha256
                                   AND o.location = %(location)s))) AS named
