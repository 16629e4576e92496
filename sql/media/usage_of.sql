-- Where each file is used: its content item, and every place whose last word was to attach it.
WITH last_words AS (
    SELECT DISTINCT ON (asset_id, used_in) asset_id, used_in, action
    FROM media_usage_logs
    WHERE tenant_id = %(tenant_id)s AND asset_id = ANY (%(ids)s) AND action IN ('attached', 'detached')
    ORDER BY asset_id, used_in, id DESC
), places AS (
    SELECT asset_id, used_in FROM last_words WHERE action = 'attached'
    UNION
    SELECT m.id, 'content:' || m.content_id FROM media_assets m
    WHERE m.tenant_id = %(tenant_id)s AND m.id = ANY (%(ids)s) AND m.content_id IS NOT NULL AND m.deleted_at IS NULL
      AND NOT EXISTS (SELECT FROM last_words l
                      WHERE l.asset_id = m.id AND l.used_in = 'content:' || m.content_id AND l.action = 'detached')
)
SELECT asset_id, array_agg(used_in ORDER BY used_in) AS used_in FROM places GROUP BY asset_id
