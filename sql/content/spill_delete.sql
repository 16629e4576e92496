-- Bodies that ZeroDB holds wait no longer. The hash is named again: what goes is what was proven there.
DELETE FROM content_body_spill s
USING unnest(%(ids)s::text[], %(hashes)s::text[]) AS done (id, hash)
WHERE s.zerodb_row_id = done.id AND s.body_sha256 = done.hash
