-- What a compaction would remove of each partition; a dry run writes nothing.
SELECT day, pass, COUNT(*) AS doomed, SUM(bytes) AS bytes FROM ({doomed}) GROUP BY day, pass
