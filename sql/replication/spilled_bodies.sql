-- Bodies that wait for ZeroDB.
SELECT zerodb_row_id, body FROM content_body_spill WHERE zerodb_row_id = ANY (%(ids)s)
