-- Documents without a row and without a date: since when each has been seen so.
INSERT INTO unclaimed_documents (collection, document_id, first_seen_at, last_seen_at)
SELECT %(collection)s, document_id, %(now)s, %(now)s FROM unnest(%(ids)s::text[]) AS document_id
ON CONFLICT (collection, document_id) DO UPDATE
SET first_seen_at = least(unclaimed_documents.first_seen_at, excluded.first_seen_at),
    last_seen_at = greatest(unclaimed_documents.last_seen_at, excluded.last_seen_at)
RETURNING document_id, first_seen_at
