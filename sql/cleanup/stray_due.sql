-- Strays that the last finished listing saw again, the same file and long enough after the first; a page of them in order.
SELECT tenant_id, key, location, size_bytes, first_seen FROM stray_objects
WHERE ours AND sightings >= 2 AND last_seen - first_seen >= %(apart)s::interval
  AND modified_at <= clock_timestamp() - %(apart)s::interval
  AND look_id = (SELECT max(look_id) FROM stray_looks WHERE finished_at IS NOT NULL)
  AND (%(after)s::timestamptz IS NULL OR (first_seen, tenant_id, key) > (%(after)s::timestamptz, %(after_tenant)s::uuid, %(after_key)s))
ORDER BY first_seen, tenant_id, key LIMIT %(limit)s
