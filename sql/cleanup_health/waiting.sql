-- Orphans that wait for quarantine, and what waits in quarantine for its end. Late is what a sweep should have taken long ago.
SELECT (SELECT count(*) FROM cleanup_audit) AS audited,
       o.orphans, o.refused, o.oldest_seconds, o.late AS orphans_late, q.quarantined, q.quarantined_bytes, q.late AS quarantine_late,
       q.failed
FROM (
    SELECT count(*) FILTER (WHERE state = 'orphan') AS orphans,
           count(*) FILTER (WHERE state = 'refused') AS refused,
           extract(epoch FROM clock_timestamp() - min(since) FILTER (WHERE state = 'orphan'))::float8 AS oldest_seconds,
           count(*) FILTER (WHERE state = 'orphan' AND since < clock_timestamp() - make_interval(secs => %(orphan_seconds)s)) AS late
    FROM render_candidates
    WHERE state IN ('orphan', 'refused')
) AS o, (
    SELECT count(*) AS quarantined, coalesce(sum(size_bytes), 0)::bigint AS quarantined_bytes,
           count(*) FILTER (WHERE delete_after < clock_timestamp() - make_interval(secs => %(late_seconds)s)) AS late,
           count(*) FILTER (WHERE error IS NOT NULL) AS failed
    FROM cleanup_quarantine
    WHERE state IN ('moving', 'quarantined', 'restoring', 'deleting')
) AS q
