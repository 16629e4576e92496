-- A stored file that no row of its tenant names, deleted or not: it and, with the last of its bytes, its variants are superseded.
WITH free AS (
    DELETE FROM media_objects o
    WHERE o.tenant_id = %(tenant_id)s AND o.key = %(key)s
      AND NOT EXISTS (SELECT FROM legal_holds h WHERE h.tenant_id = o.tenant_id AND h.released_at IS NULL)
      AND NOT EXISTS (SELECT FROM media_assets m WHERE m.tenant_id = o.tenant_id AND m.sha256 = o.sha256
                        AND coalesce(m.metadata ->> 'object_key', m.sha256) = o.key)
    RETURNING o.tenant_id, o.key, o.sha256, o.size_bytes
), last AS (
    SELECT f.tenant_id, f.sha256 FROM free f
    WHERE NOT EXISTS (SELECT FROM media_objects o WHERE o.tenant_id = f.tenant_id AND o.sha256 = f.sha256 AND o.key <> f.key)
), variants AS (
    DELETE FROM media_variants v USING last l WHERE v.tenant_id = l.tenant_id AND v.sha256 = l.sha256
    RETURNING v.tenant_id, v.key, v.sha256, v.bytes
), processed AS (
    DELETE FROM media_processing p USING last l WHERE p.tenant_id = l.tenant_id AND p.sha256 = l.sha256
), alike AS (
    DELETE FROM media_near_duplicates d USING last l
    WHERE d.tenant_id = l.tenant_id AND (d.sha256 = l.sha256 OR d.other_sha256 = l.sha256)
), released AS (
    INSERT INTO media_superseded (tenant_id, key, sha256, bytes)
    SELECT tenant_id, key, sha256, size_bytes FROM free UNION ALL SELECT tenant_id, key, sha256, bytes FROM variants
    ON CONFLICT (tenant_id, key) DO UPDATE SET superseded_at = excluded.superseded_at
    RETURNING 1
)
SELECT count(*) AS files FROM released
