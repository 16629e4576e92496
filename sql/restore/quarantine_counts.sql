-- What was set aside, by table and reason.
SELECT entity, reason, count(*) AS rows FROM restore_quarantine WHERE restore_id = %(restore_id)s
GROUP BY entity, reason ORDER BY entity, reason
