-- Variants of a file that the next ones replace; their files are left for cleanup.
WITH gone AS (
    DELETE FROM media_variants WHERE tenant_id = %(tenant_id)s AND sha256 = %(sha256)s AND key <> ALL (%(keys)s)
    RETURNING tenant_id, key, sha256, bytes
)
INSERT INTO media_superseded (tenant_id, key, sha256, bytes)
SELECT tenant_id, key, sha256, bytes FROM gone
ON CONFLICT (tenant_id, key) DO UPDATE SET superseded_at = excluded.superseded_at
