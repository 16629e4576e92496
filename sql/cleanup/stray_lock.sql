-- A stray that is still due, locked.
SELECT size_bytes, etag, generation, modified_at, first_seen, last_seen, sightings, look_id FROM stray_objects
WHERE tenant_id = %(tenant_id)s AND key = %(key)s AND ours AND sightings >= 2 AND last_seen - first_seen >= %(apart)s::interval
  AND modified_at <= clock_timestamp() - %(apart)s::interval
  AND look_id = (SELECT max(look_id) FROM stray_looks WHERE finished_at IS NOT NULL)
FOR UPDATE SKIP LOCKED
