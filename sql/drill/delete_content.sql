-- Items that go for good in the ordinary life of a drill's world, so that its history holds tombstones.
DELETE FROM content_storage_metadata WHERE id = ANY (%(ids)s::uuid[])
