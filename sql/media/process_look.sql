-- What a stored picture looks like, in 64 bits.
UPDATE media_objects SET phash = %(phash)s
WHERE tenant_id = %(tenant_id)s AND sha256 = %(sha256)s AND phash IS DISTINCT FROM %(phash)s
