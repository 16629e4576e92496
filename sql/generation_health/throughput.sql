-- Items that ended in each of the last 24 hours, oldest first; an hour in which nothing ended is there with noughts.
SELECT h.hour, coalesce(sum(e.items) FILTER (WHERE e.status = 'completed'), 0)::bigint AS completed,
       coalesce(sum(e.items) FILTER (WHERE e.status = 'failed'), 0)::bigint AS failed,
       coalesce(sum(e.items) FILTER (WHERE e.status = 'cancelled'), 0)::bigint AS cancelled
FROM generate_series(
    date_trunc('hour', clock_timestamp()) - interval '23 hours', date_trunc('hour', clock_timestamp()), interval '1 hour') AS h (hour)
LEFT JOIN (
    SELECT date_trunc('hour', j.completed_at) AS hour, j.status, count(*) AS items
    FROM (SELECT status, completed_at FROM generation_jobs WHERE completed_at >= date_trunc('hour', clock_timestamp()) - interval '23 hours'
          UNION ALL
          SELECT status, completed_at FROM generation_jobs_history
          WHERE completed_at >= date_trunc('hour', clock_timestamp()) - interval '23 hours') AS j
    GROUP BY 1, 2
) AS e ON e.hour = h.hour
GROUP BY h.hour ORDER BY h.hour
