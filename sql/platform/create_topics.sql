-- Local and test runs stand in for the platform, which owns this table; production only checks it.
CREATE TABLE IF NOT EXISTS topics (
    id uuid PRIMARY KEY,
    tenant_id uuid,
    topic_title text,
    keywords text[]
)
