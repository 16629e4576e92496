-- Stored pictures of the tenant that look like this one; first those that were described before it, the most alike ahead.
SELECT o.sha256, bit_count((o.phash # %(phash)s::bigint)::bit(64)) AS distance,
       p.described_at < coalesce(%(described_at)s::timestamptz, 'infinity') AS earlier
FROM media_objects o
JOIN media_processing p ON p.tenant_id = o.tenant_id AND p.sha256 = o.sha256
WHERE o.tenant_id = %(tenant_id)s AND o.sha256 <> %(sha256)s 
  -- A blank picture is like every other one (core/media/phash.py).
  AND bit_count(o.phash::bit(64)) BETWEEN 4 AND 60
  AND bit_count((o.phash # %(phash)s::bigint)::bit(64)) <= %(near)s
  AND EXISTS (SELECT FROM media_assets a WHERE a.tenant_id = o.tenant_id AND a.sha256 = o.sha256 AND a.deleted_at IS NULL)
ORDER BY earlier DESC, distance, p.described_at, o.sha256
LIMIT %(most)s
