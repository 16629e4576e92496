-- Somebody looked, and the tenant's rows are gone for good: its files are strays like any other.
DELETE FROM stray_tenants WHERE tenant_id = %(tenant_id)s
