-- A file is described and has its variants. The moment of its first description stays, and so do tags that are `kept`.
INSERT INTO media_processing AS p (tenant_id, sha256, made_with, description, described_at, tags_state, tags_after)
VALUES (%(tenant_id)s, %(sha256)s, %(made_with)s, %(description)s::jsonb, clock_timestamp(),
        CASE WHEN %(tags)s::text = 'wanted' THEN 'wanted' ELSE 'done' END,
        CASE WHEN %(tags)s::text = 'wanted' THEN clock_timestamp() END)
ON CONFLICT (tenant_id, sha256) DO UPDATE
SET made_with = excluded.made_with, description = excluded.description,
    described_at = coalesce(p.described_at, excluded.described_at), attempts = 0, failed_reason = NULL, retry_at = NULL,
    tags_state = CASE WHEN %(tags)s::text = 'kept' THEN p.tags_state ELSE excluded.tags_state END,
    tags_after = CASE WHEN %(tags)s::text = 'kept' THEN p.tags_after ELSE excluded.tags_after END,
    updated_at = clock_timestamp()
