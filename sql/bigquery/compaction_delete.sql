-- Removes the listed rows of one partition, all or none of them: one job a partition, billed for that partition.
DELETE FROM `{table}` AS h
WHERE h.synced_at >= @low AND h.synced_at < @high AND EXISTS (
    SELECT 1 FROM `{stage}` AS d
    WHERE d.day = @day AND d.pass = @pass AND d.entity_id = h.entity_id AND d.sync_id = h.sync_id AND d.sync_part = h.sync_part
)
