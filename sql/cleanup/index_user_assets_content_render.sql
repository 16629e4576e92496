-- Which assets were saved from a render, without blocking anybody who saves.
CREATE INDEX CONCURRENTLY user_assets_content_render ON user_assets (content_render_reference(metadata))
WHERE content_render_reference(metadata) IS NOT NULL
