-- Documents that a whole comparison saw no more without a row: they have one, or are gone.
DELETE FROM unclaimed_documents WHERE collection = %(collection)s AND last_seen_at < %(now)s
