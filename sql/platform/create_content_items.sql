-- Legacy rows as they are: no foreign keys and no NOT NULL but the key's, since missing tenants and empty
-- columns occur and the migration must meet them here too. The columns that this project writes come with its migration.
CREATE TABLE IF NOT EXISTS content_items (
    id uuid PRIMARY KEY,
    tenant_id uuid,
    brand_id uuid,
    user_id uuid,
    title text,
    content_body text,
    content_type text,
    status text,
    content_metadata jsonb,
    created_at timestamptz,
    updated_at timestamptz
)
