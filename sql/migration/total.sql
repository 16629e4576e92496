-- Rows in each legacy table, for the progress bar.
SELECT (SELECT count(*) FROM campaign_assets) AS campaign_assets, (SELECT count(*) FROM content_items) AS content_items
