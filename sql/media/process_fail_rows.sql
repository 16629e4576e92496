-- Why a stored file could not be described, in every live row that names it.
UPDATE media_assets
SET metadata = metadata || jsonb_build_object('failure', jsonb_build_object('step', 'describe', 'reason', %(reason)s::text)),
    status = 'failed', updated_at = greatest(clock_timestamp(), updated_at)
WHERE tenant_id = %(tenant_id)s AND sha256 = %(sha256)s AND status = 'stored' AND deleted_at IS NULL
