-- Rows that name a body, from beyond a position to the end: what the scrub's cycle has still to read.
SELECT (SELECT count(*) FROM content_storage_metadata
        WHERE id >= %(content_id)s AND (id, version) > (%(content_id)s, %(version)s))
     + (SELECT count(*) FROM content_versions WHERE (content_id, version) > (%(content_id)s, %(version)s)) AS rows_left
