-- Local and test runs stand in for the platform, which owns this table; production only checks it.
CREATE TABLE IF NOT EXISTS user_assets (
    id uuid PRIMARY KEY,
    user_id uuid,
    asset_type text,
    metadata jsonb,
    file_size bigint,
    created_at timestamptz
)
