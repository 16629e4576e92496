-- A row lets go of its file. Whether bytes become free is counted beside it; the file itself is left to cleanup.
UPDATE media_assets SET deleted_at = clock_timestamp(), updated_at = greatest(clock_timestamp(), updated_at) WHERE id = %(id)s
