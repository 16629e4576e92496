-- How many of the staged rows the target has, and how many of them just as the history has them.
SELECT count(*) AS present, count(*) FILTER (WHERE {printed} IS NOT DISTINCT FROM {expected}) AS same
FROM restore_staging s JOIN {target} t ON t.id = s.id
WHERE %(numbers)s::integer[] IS NULL OR s.n = ANY (%(numbers)s::integer[])
