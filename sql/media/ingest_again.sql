-- Failed rows of a tenant are tried again, whatever the reason was; at most so many, the oldest first.
UPDATE media_ingest SET next_try = clock_timestamp(), attempts = 0, updated_at = clock_timestamp()
WHERE asset_id IN (
    SELECT i.asset_id FROM media_ingest i JOIN media_assets m ON m.id = i.asset_id
    WHERE i.tenant_id = %(tenant_id)s AND i.outcome = 'failed' AND i.next_try IS NULL AND m.sha256 IS NULL AND m.deleted_at IS NULL
      AND (%(reasons)s::text[] IS NULL OR i.reason = ANY (%(reasons)s))
    ORDER BY i.updated_at, i.asset_id
    LIMIT %(most)s
)
