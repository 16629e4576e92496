-- Good is what you expect: the renders of the last 24 hours, a row an hour, and how many of the completed ones were saved. Many
-- completed and none saved for hours: saves do not reach user_assets, and cleanup will take what nobody seems to want. Reads only.
SELECT date_trunc('hour', r.created_at) AS hour, count(*) AS renders,
       count(*) FILTER (WHERE r.status = 'completed') AS completed,
       count(*) FILTER (WHERE r.status = 'failed') AS failed,
       count(*) FILTER (WHERE r.status NOT IN ('completed', 'failed')) AS under_way,
       count(*) FILTER (WHERE s.saved) AS saved,
       count(*) FILTER (WHERE r.status = 'completed' AND NOT s.saved) AS not_saved
FROM render_jobs r
CROSS JOIN LATERAL (
    SELECT EXISTS (SELECT FROM user_assets a WHERE content_render_reference(a.metadata) = r.id) AS saved
) AS s
WHERE r.created_at > clock_timestamp() - interval '24 hours'
GROUP BY 1
ORDER BY 1 DESC
