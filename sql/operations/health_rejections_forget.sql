-- Refusals that are older than three months.
DELETE FROM quota_rejections WHERE day < (clock_timestamp() AT TIME ZONE 'UTC')::date - %(days)s
