-- A spilled body gets the text that its row's hash proves, and what the row says of it. The row of the spill stays.
UPDATE content_body_spill
SET body = %(body)s, body_sha256 = %(body_sha256)s, size_bytes = %(size_bytes)s, tenant_id = %(tenant_id)s, content_id = %(content_id)s,
    version = %(version)s
WHERE zerodb_row_id = %(id)s
