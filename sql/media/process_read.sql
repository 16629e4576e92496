-- How far a stored file has come.
SELECT made_with, description::text AS description, attempts, described_at, failed_reason, retry_at
FROM media_processing WHERE tenant_id = %(tenant_id)s AND sha256 = %(sha256)s
