-- When the copies were last compared, and when they were last seen to agree, by the hourly or the full report.
SELECT extract(epoch FROM clock_timestamp() - max(written_at))::float8 AS since_compared,
       extract(epoch FROM clock_timestamp() - max(written_at) FILTER (WHERE outcome = 'agree'))::float8 AS since_agreed,
       (array_agg(outcome ORDER BY report_id DESC))[1] AS last_outcome,
       (array_agg(report_id ORDER BY report_id DESC))[1] AS last_report
FROM integrity_reports WHERE scope IN ('hourly', 'full')
