-- Two loaders at once would both find the tables empty: the second waits here, then finds the first one's rows.
LOCK TABLE tenants, campaign_assets, content_items IN SHARE ROW EXCLUSIVE MODE
