-- Local and test runs stand in for the platform, which owns this table; production only checks it.
CREATE TABLE IF NOT EXISTS render_jobs (
    id uuid PRIMARY KEY,
    user_id uuid,
    status text,
    output_url text,
    created_at timestamptz,
    updated_at timestamptz
)
