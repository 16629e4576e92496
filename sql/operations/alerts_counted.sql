-- How many alerts are open, how many of them are muted, and how many began within a day.
SELECT count(*) FILTER (WHERE phase = 'open') AS open,
       count(*) FILTER (WHERE phase = 'open' AND suppressed = 'muted') AS muted,
       count(*) FILTER (WHERE opened_at > clock_timestamp() - interval '1 day') AS last_day
FROM platform_alerts
