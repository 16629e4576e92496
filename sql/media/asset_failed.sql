-- A row whose file is not taken, unless it got one meanwhile. Its counters stay: it counts with its recorded size.
UPDATE media_assets SET status = 'failed', updated_at = greatest(clock_timestamp(), updated_at)
WHERE id = %(id)s AND sha256 IS NULL AND status <> 'failed' AND deleted_at IS NULL
