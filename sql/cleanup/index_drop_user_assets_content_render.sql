-- What a killed build left; it is built again.
DROP INDEX CONCURRENTLY IF EXISTS user_assets_content_render
