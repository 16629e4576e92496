-- A row that cannot be stored truthfully, whole, with the reason. Seen again, it keeps its first date.
INSERT INTO migration_quarantine (source, reason, detail, original_row)
VALUES (%(source)s, %(reason)s, %(detail)s, %(original)s)
ON CONFLICT (source) DO UPDATE
SET reason = excluded.reason, detail = excluded.detail, original_row = excluded.original_row, last_seen = now(), resolved_at = NULL
