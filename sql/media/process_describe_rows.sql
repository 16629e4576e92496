-- What is known of a file, in every live row that names it and does not say so yet; what was said before of it goes.
UPDATE media_assets
SET metadata = (metadata - '{file,phash,near_duplicate_of,variants,tags,failure}'::text[]) || %(description)s::jsonb,
    status = 'stored', updated_at = greatest(clock_timestamp(), updated_at)
WHERE tenant_id = %(tenant_id)s AND sha256 = %(sha256)s AND status IN ('stored', 'failed') AND deleted_at IS NULL
  AND (metadata - '{file,phash,near_duplicate_of,variants,tags,failure}'::text[]) || %(description)s::jsonb <> metadata
