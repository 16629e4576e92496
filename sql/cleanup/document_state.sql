-- What became of a document in quarantine. One that is back, or gone for good, is not kept here besides.
UPDATE cleanup_quarantine
SET state = %(state)s, ended_at = CASE WHEN %(state)s IN ('restored', 'deleted') THEN clock_timestamp() END,
    row_json = CASE WHEN %(state)s IN ('restored', 'deleted') THEN '{}' ELSE row_json END
WHERE quarantine_id = %(quarantine_id)s
