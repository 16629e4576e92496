-- Alerts that ended, and were told, months ago.
DELETE FROM platform_alerts
WHERE phase <> 'open' AND (delivered_at IS NOT NULL OR suppressed IS NOT NULL)
  AND ended_at < clock_timestamp() - %(days)s * interval '1 day'
