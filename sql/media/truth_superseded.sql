-- Files of variants that others replaced and cleanup has not removed yet.
SELECT count(*) AS files, coalesce(sum(bytes), 0)::bigint AS bytes, coalesce(min(superseded_at)::text, 'none') AS since
FROM media_superseded
