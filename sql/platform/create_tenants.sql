-- Local and test runs stand in for the platform, which owns this table; production only checks it.
CREATE TABLE IF NOT EXISTS tenants (
    id uuid PRIMARY KEY,
    name text,
    slug text UNIQUE,
    plan_tier text,
    created_at timestamptz
)
