-- A few of what a sweep should have taken long ago, the oldest first.
SELECT * FROM (
    SELECT 'orphan' AS what, job_id::text AS id, since AS at, reason
    FROM render_candidates
    WHERE state = 'orphan' AND since < clock_timestamp() - make_interval(secs => %(orphan_seconds)s)
    UNION ALL
    SELECT state, quarantine_id::text, delete_after, coalesce(error, reason)
    FROM cleanup_quarantine
    WHERE state IN ('moving', 'quarantined', 'restoring', 'deleting')
      AND delete_after < clock_timestamp() - make_interval(secs => %(late_seconds)s)
) AS late
ORDER BY at
LIMIT %(most)s
