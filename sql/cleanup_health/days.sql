-- What passes did on each of the last days (UTC), oldest first; a day on which none ended is there with noughts.
SELECT d.day::date AS day, coalesce(sum(p.quarantined), 0)::bigint AS quarantined, coalesce(sum(p.restored), 0)::bigint AS restored,
       coalesce(sum(p.deleted), 0)::bigint AS deleted, coalesce(sum(p.freed_bytes), 0)::bigint AS freed_bytes,
       coalesce(sum(p.orphans), 0)::bigint AS orphans, count(*) FILTER (WHERE p.refused) AS refused
FROM generate_series((now() AT TIME ZONE 'UTC')::date - (%(days)s - 1), (now() AT TIME ZONE 'UTC')::date, interval '1 day') AS d (day)
LEFT JOIN (
    SELECT (at AT TIME ZONE 'UTC')::date AS day, action = 'refused' AS refused,
           (detail ->> 'quarantined')::bigint AS quarantined, (detail ->> 'restored')::bigint AS restored,
           (detail ->> 'deleted')::bigint AS deleted, (detail ->> 'freed_bytes')::bigint AS freed_bytes,
           CASE WHEN kind = 'quarantined_renders' THEN (detail ->> 'quarantined')::bigint END AS orphans
    FROM cleanup_audit
    WHERE kind = ANY (%(kinds)s) AND subject_id = 'pass' AND action IN ('finished', 'refused')
      AND at >= ((now() AT TIME ZONE 'UTC')::date - (%(days)s - 1))::timestamp AT TIME ZONE 'UTC'
) AS p ON p.day = d.day
GROUP BY d.day
ORDER BY d.day
