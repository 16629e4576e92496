-- Refusals by day of the last 14 days, oldest first; days without any count 0.
SELECT d.day::date AS day, coalesce(sum(r.rejections), 0)::bigint AS rejections
FROM generate_series((clock_timestamp() AT TIME ZONE 'UTC')::date - 13, (clock_timestamp() AT TIME ZONE 'UTC')::date, interval '1 day') AS d (day)
LEFT JOIN quota_rejections r ON r.day = d.day::date
GROUP BY d.day ORDER BY d.day
