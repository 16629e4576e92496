-- A version record comes back as PostgreSQL printed it. One that is there is never overwritten.
INSERT INTO content_versions
SELECT r.* FROM jsonb_populate_record(NULL::content_versions, %(row_json)s::jsonb) AS r
ON CONFLICT DO NOTHING
RETURNING zerodb_row_id
