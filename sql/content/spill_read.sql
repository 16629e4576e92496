-- Bodies of the tenant that wait for ZeroDB.
SELECT zerodb_row_id, body, document FROM content_body_spill
WHERE tenant_id = %(tenant_id)s AND zerodb_row_id = ANY(%(ids)s)
