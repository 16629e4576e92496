-- What became of each row of campaign_assets, from the tables themselves; an item that was purged counts as one.
SELECT count(*) AS legacy,
       count(*) FILTER (WHERE m.id IS NOT NULL OR p.source IS NOT NULL) AS items,
       count(*) FILTER (WHERE m.id IS NULL AND p.source IS NULL AND q.id IS NOT NULL) AS quarantined,
       count(*) FILTER (WHERE m.id IS NULL AND p.source IS NULL AND q.id IS NULL) AS unaccounted,
       coalesce(string_agg(DISTINCT q.reason, ', ') FILTER (WHERE m.id IS NULL AND p.source IS NULL), '') AS reasons
FROM campaign_assets l
LEFT JOIN content_storage_metadata m ON m.source = 'campaign_assets:' || l.id
LEFT JOIN purged_sources p ON p.source = 'campaign_assets:' || l.id
LEFT JOIN migration_quarantine q ON q.source = 'campaign_assets:' || l.id AND q.resolved_at IS NULL
