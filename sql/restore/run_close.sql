-- Everything of the plan was done.
UPDATE restore_runs SET status = 'closed', closed_at = clock_timestamp(), report = %(report)s::jsonb
WHERE restore_id = %(restore_id)s AND status = 'open' AND attempts = %(attempts)s
