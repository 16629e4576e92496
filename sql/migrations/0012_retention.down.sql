-- Takes legal holds, floors of versions and purged sources away; what was purged stays purged.
DROP INDEX media_variants_of_key;
DROP INDEX media_objects_key;
DROP INDEX media_superseded_oldest;
DROP INDEX content_versions_superseded;
DROP INDEX media_assets_deleted;
DROP INDEX content_storage_deleted;
CREATE INDEX content_storage_deleted ON content_storage_metadata (deleted_at) WHERE deleted_at IS NOT NULL;
DROP TABLE purged_sources;
DROP TABLE retention_floors;
DROP TABLE legal_holds;
