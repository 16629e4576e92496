-- How the last try of a row's file ended, and when the next one is. Without `wait` there is none.
INSERT INTO media_ingest AS i (asset_id, tenant_id, attempts, outcome, reason, detail, next_try, document_due)
VALUES (%(id)s, %(tenant_id)s, 1, %(outcome)s, %(reason)s, %(detail)s, clock_timestamp() + %(wait)s::interval, %(document_due)s)
ON CONFLICT (asset_id) DO UPDATE
SET attempts = i.attempts + 1, outcome = excluded.outcome, reason = excluded.reason, detail = excluded.detail,
    next_try = excluded.next_try, document_due = i.document_due OR excluded.document_due, updated_at = clock_timestamp()
