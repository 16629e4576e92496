-- The tags of a file and how asking for them went; only while its description is the one that was read.
UPDATE media_processing
SET description = jsonb_set(description, '{tags}', %(tags)s::jsonb), tags_state = %(tags_state)s, tags_attempts = tags_attempts + 1,
    tags_error = %(tags_error)s, tags_after = clock_timestamp() + %(tags_wait)s::interval, updated_at = clock_timestamp()
WHERE tenant_id = %(tenant_id)s AND sha256 = %(sha256)s AND tags_state = 'wanted'
RETURNING description::text AS description
