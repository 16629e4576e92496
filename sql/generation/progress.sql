-- Behind the fence, and on no indexed column: what remains is reckoned from what the item took so far.
UPDATE generation_jobs SET
    phase = %(phase)s, percentage = %(percentage)s::smallint, current_step = %(step)s, updated_at = clock_timestamp(),
    estimated_time_remaining = CASE WHEN %(percentage)s::smallint > 0 THEN
        least(extract(epoch FROM clock_timestamp() - started_at) * (100 - %(percentage)s::smallint) / %(percentage)s::smallint, 2147483647) END
WHERE id = %(id)s AND lease_token = %(token)s AND status = 'running'
