-- Disaster 1: somebody drops the content tables.
DROP TABLE content_storage_metadata, content_versions, media_assets
