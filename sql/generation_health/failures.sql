-- Why items failed for good and attempts did not succeed within the last 24 hours, by category.
SELECT category, sum(items)::bigint AS items, sum(attempts)::bigint AS attempts
FROM (
    SELECT error_category AS category, count(*) AS items, 0 AS attempts FROM generation_jobs
    WHERE status = 'failed' AND completed_at > clock_timestamp() - interval '24 hours' GROUP BY 1
    UNION ALL
    SELECT error_category, count(*), 0 FROM generation_jobs_history
    WHERE status = 'failed' AND completed_at > clock_timestamp() - interval '24 hours' GROUP BY 1
    UNION ALL
    SELECT outcome, 0, count(*) FROM generation_attempts
    WHERE outcome <> 'succeeded' AND started_at > clock_timestamp() - interval '24 hours' GROUP BY 1
    UNION ALL
    SELECT outcome, 0, count(*) FROM generation_attempts_history
    WHERE outcome <> 'succeeded' AND started_at > clock_timestamp() - interval '24 hours' GROUP BY 1
) AS f
GROUP BY category ORDER BY items DESC, attempts DESC, category
