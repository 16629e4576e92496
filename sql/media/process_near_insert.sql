-- A pair of pictures that look alike; the smaller hash first.
INSERT INTO media_near_duplicates (tenant_id, sha256, other_sha256, distance)
VALUES (%(tenant_id)s, least(%(sha256)s::text COLLATE "C", %(other)s::text COLLATE "C"),
        greatest(%(sha256)s::text COLLATE "C", %(other)s::text COLLATE "C"), %(distance)s)
ON CONFLICT DO NOTHING
