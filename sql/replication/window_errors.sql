-- Windows of the last day, and how many of them needed more than one attempt.
SELECT count(*) AS windows, count(*) FILTER (WHERE attempts > 1 OR status = 'open' AND opened_at < clock_timestamp() - interval '1 hour') AS troubled
FROM replication_windows WHERE opened_at > clock_timestamp() - interval '1 day'
