-- The demo goes only where none of these has a row; EXISTS stops at the first row of a large table.
SELECT
    EXISTS (SELECT FROM tenants) AS tenants,
    EXISTS (SELECT FROM campaign_assets) AS campaign_assets,
    EXISTS (SELECT FROM content_items) AS content_items
