-- The size of a body whose hash is proven, in the rows that name it by that hash.
WITH items AS (
    UPDATE content_storage_metadata SET storage_size_bytes = %(size_bytes)s
    WHERE zerodb_row_id = %(id)s AND body_sha256 = %(body_sha256)s AND storage_size_bytes <> %(size_bytes)s
)
UPDATE content_versions SET storage_size_bytes = %(size_bytes)s
WHERE zerodb_row_id = %(id)s AND body_sha256 = %(body_sha256)s AND storage_size_bytes <> %(size_bytes)s
