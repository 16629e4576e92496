-- Items whose versions have a gap, or whose pointer and version record disagree, in one snapshot; the row without an id counts all.
WITH chosen AS (
    SELECT id AS content_id FROM content_storage_metadata WHERE %(tenant)s::uuid IS NULL OR tenant_id = %(tenant)s
    UNION
    SELECT content_id FROM content_versions WHERE %(tenant)s::uuid IS NULL OR tenant_id = %(tenant)s
), held AS (
    SELECT v.content_id, count(*) AS versions, min(v.version) AS oldest, max(v.version) AS newest,
           max(v.created_at) AS newest_at, min(v.tenant_id::text) AS tenant_id, count(*) FILTER (WHERE v.tenant_id <> i.tenant_id) AS of_other_tenants
    FROM content_versions v
    JOIN chosen c ON c.content_id = v.content_id
    LEFT JOIN content_storage_metadata i ON i.id = v.content_id
    GROUP BY v.content_id
), checked AS MATERIALIZED (
    SELECT c.content_id, coalesce(i.tenant_id::text, h.tenant_id) AS tenant_id, i.version AS pointer, h.versions, h.newest,
           -- Up to its floor retention removed the history. What a restore brought back from below must follow on too.
           least(h.oldest, coalesce(f.floor, 1)) AS first,
           h.oldest > coalesce(f.floor, 1) OR h.versions <> h.newest - h.oldest + 1 AS gap,
           CASE WHEN i.id IS NULL THEN 'no_item'
                WHEN p.id IS NULL THEN 'no_version_row'
                -- A restore that overwrites moves a pointer back and deletes no newer version: that is as it should be.
                WHEN h.newest <> i.version AND NOT EXISTS (
                    SELECT FROM restore_runs r WHERE r.request ->> 'on_conflict' = 'overwrite' AND r.opened_at >= h.newest_at
                ) THEN 'pointer_behind'
                WHEN h.of_other_tenants > 0 THEN 'tenant'
                WHEN (p.zerodb_row_id, p.body_sha256, p.storage_size_bytes)
                     IS DISTINCT FROM (i.zerodb_row_id, i.body_sha256, i.storage_size_bytes) THEN 'fields'
           END AS reason,
           array_remove(ARRAY[
               CASE WHEN p.zerodb_row_id <> i.zerodb_row_id THEN 'zerodb_row_id' END,
               CASE WHEN p.body_sha256 <> i.body_sha256 THEN 'body_sha256' END,
               CASE WHEN p.storage_size_bytes <> i.storage_size_bytes THEN 'storage_size_bytes' END], NULL) AS fields
    FROM chosen c
    LEFT JOIN content_storage_metadata i ON i.id = c.content_id
    LEFT JOIN held h ON h.content_id = c.content_id
    LEFT JOIN retention_floors f ON f.content_id = c.content_id
    LEFT JOIN content_versions p ON p.content_id = i.id AND p.version = i.version
)
SELECT NULL::uuid AS content_id, NULL AS tenant_id, NULL AS pointer, count(*) AS versions, NULL AS newest, NULL AS first, false AS gap,
       NULL AS reason, NULL::text[] AS fields, NULL::integer[] AS held
FROM checked
UNION ALL
SELECT content_id, tenant_id, pointer, versions, newest, first, coalesce(gap, false), reason, fields,
       CASE WHEN gap THEN (SELECT array_agg(version ORDER BY version)
                           FROM (SELECT version FROM content_versions v WHERE v.content_id = checked.content_id
                                 ORDER BY version LIMIT 1000) AS first) END
FROM checked
WHERE gap OR reason IS NOT NULL
