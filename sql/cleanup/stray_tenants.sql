-- Every tenant that may have stored files, with the files that rows of ours name now and did name at the last look.
SELECT t.tenant_id, t.files, coalesce(p.named, 0) AS named_before,
       (SELECT count(*) FROM media_objects o WHERE o.tenant_id = t.tenant_id)
     + (SELECT count(*) FROM media_variants v WHERE v.tenant_id = t.tenant_id) AS named
FROM (
    SELECT tenant_id, bool_or(files) AS files FROM (
        SELECT id AS tenant_id, false AS files FROM tenants
        UNION ALL SELECT DISTINCT tenant_id, true FROM media_objects
        UNION ALL SELECT DISTINCT tenant_id, true FROM media_variants
        UNION ALL SELECT DISTINCT tenant_id, true FROM media_superseded
        UNION ALL SELECT DISTINCT tenant_id, true FROM media_processing
        UNION ALL SELECT DISTINCT tenant_id, true FROM stray_objects
        UNION ALL SELECT tenant_id, true FROM stray_tenants WHERE objects > 0
    ) AS known GROUP BY tenant_id
) AS t
LEFT JOIN stray_tenants p USING (tenant_id)
ORDER BY t.tenant_id
