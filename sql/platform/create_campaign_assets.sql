-- Legacy rows as they are: no foreign keys and no NOT NULL but the key's, since missing tenants and empty
-- columns occur and the migration must meet them here too. No body is stored anywhere.
CREATE TABLE IF NOT EXISTS campaign_assets (
    id uuid PRIMARY KEY,
    tenant_id uuid,
    brand_id uuid,
    campaign_space_id uuid,
    user_id uuid,
    asset_name text,
    asset_type text,
    external_asset_id text,
    headline_text text,
    ad_copy_text text,
    description text,
    cta_text text,
    file_url text,
    public_url text,
    file_size_bytes bigint,
    mime_type text,
    tags text[],
    created_at timestamptz,
    updated_at timestamptz,
    deleted_at timestamptz
)
