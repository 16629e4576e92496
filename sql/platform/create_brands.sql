-- Local and test runs stand in for the platform, which owns this table; production only checks it.
CREATE TABLE IF NOT EXISTS brands (
    id uuid PRIMARY KEY,
    tenant_id uuid REFERENCES tenants (id),
    name text
)
