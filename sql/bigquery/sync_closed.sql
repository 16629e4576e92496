-- When a closed sync opened; no row where the id is not that of one.
SELECT synced_at FROM `{table}` WHERE sync_id = @sync_id LIMIT 1
