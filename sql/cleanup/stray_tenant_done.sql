-- A tenant whose store was listed to its end: what this listing did not see as a stray is none any more.
WITH gone AS (
    DELETE FROM stray_objects WHERE tenant_id = %(tenant_id)s AND look_id <> %(look_id)s
)
INSERT INTO stray_tenants AS t (tenant_id, named, objects) VALUES (%(tenant_id)s, %(named)s, %(objects)s)
ON CONFLICT (tenant_id) DO UPDATE SET named = excluded.named, objects = excluded.objects, looked_at = clock_timestamp()
