-- The next legacy rows by id, their size, and whether an item came from them already, one that was purged too.
SELECT l.id, m.id IS NOT NULL OR p.source IS NOT NULL AS present,
       coalesce(octet_length(l.headline_text), 0) + coalesce(octet_length(l.ad_copy_text), 0)
           + coalesce(octet_length(l.description), 0) + coalesce(octet_length(l.cta_text), 0)
           + coalesce(octet_length(l.asset_name), 0) AS bytes
FROM campaign_assets l
LEFT JOIN content_storage_metadata m ON m.source = 'campaign_assets:' || l.id
LEFT JOIN purged_sources p ON p.source = 'campaign_assets:' || l.id
WHERE l.id >= %(first)s
ORDER BY l.id
LIMIT %(limit)s
