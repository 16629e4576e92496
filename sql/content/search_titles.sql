-- The tenant's live items whose title matches, the best match first. The function reaches the index past the policies.
WITH matching AS MATERIALIZED (
    SELECT content_id, rank FROM content_titles_matching(websearch_to_tsquery('simple', %(query)s), %(most)s)
)
SELECT m.*, t.rank, (SELECT count(*) FROM matching) AS matches
FROM matching t
JOIN content_storage_metadata m ON m.id = t.content_id AND m.tenant_id = %(tenant_id)s
WHERE m.deleted_at IS NULL
ORDER BY t.rank DESC, m.created_at DESC, m.id DESC
LIMIT %(limit)s
