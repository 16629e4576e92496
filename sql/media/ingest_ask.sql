-- The file of one row is asked for.
INSERT INTO media_ingest (asset_id, tenant_id) VALUES (%(id)s, %(tenant_id)s) ON CONFLICT (asset_id) DO NOTHING
