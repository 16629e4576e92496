-- Files and variants of a tenant in the store, with their bytes.
SELECT (SELECT count(*) FROM media_objects WHERE tenant_id = %(tenant_id)s AND state = 'stored') AS files,
       (SELECT coalesce(sum(size_bytes), 0)::bigint FROM media_objects WHERE tenant_id = %(tenant_id)s AND state = 'stored') AS file_bytes,
       (SELECT count(*) FROM media_variants WHERE tenant_id = %(tenant_id)s) AS variants,
       (SELECT coalesce(sum(bytes), 0)::bigint FROM media_variants WHERE tenant_id = %(tenant_id)s) AS variant_bytes
