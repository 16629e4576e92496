-- Statistics of the expression that was indexed.
ANALYZE user_assets
