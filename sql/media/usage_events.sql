-- How often each thing happened to each file.
SELECT asset_id, action, count(*) AS events, max(at) AS last_at
FROM media_usage_logs WHERE tenant_id = %(tenant_id)s AND asset_id = ANY (%(ids)s)
GROUP BY asset_id, action
