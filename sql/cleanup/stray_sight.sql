-- Files that a listing saw and no row names. One that is not what it was is seen for the first time.
INSERT INTO stray_objects AS s (tenant_id, key, location, size_bytes, etag, generation, modified_at, ours, first_seen, last_seen, look_id)
SELECT %(tenant_id)s, f.key, %(location)s, f.size_bytes, f.etag, f.generation, f.modified_at, f.ours, %(seen_at)s, %(seen_at)s,
       %(look_id)s
FROM jsonb_to_recordset(%(files)s::jsonb)
     AS f (key text, size_bytes bigint, etag text, generation text, modified_at timestamptz, ours boolean)
ON CONFLICT (tenant_id, key) DO UPDATE
SET location = excluded.location, size_bytes = excluded.size_bytes, etag = excluded.etag, generation = excluded.generation,
    modified_at = excluded.modified_at, ours = excluded.ours, last_seen = excluded.last_seen, look_id = excluded.look_id,
    first_seen = CASE WHEN (s.location, s.size_bytes, s.etag, s.generation, s.modified_at)
                          IS NOT DISTINCT FROM (excluded.location, excluded.size_bytes, excluded.etag, excluded.generation, excluded.modified_at)
                      THEN least(s.first_seen, excluded.first_seen) ELSE excluded.first_seen END,
    sightings = CASE WHEN (s.location, s.size_bytes, s.etag, s.generation, s.modified_at)
                         IS NOT DISTINCT FROM (excluded.location, excluded.size_bytes, excluded.etag, excluded.generation, excluded.modified_at)
                     THEN s.sightings + 1 ELSE 1 END
