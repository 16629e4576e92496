-- How an action went, written once.
UPDATE integrity_repairs SET outcome = %(outcome)s, detail = %(detail)s::jsonb, finished_at = clock_timestamp()
WHERE repair_id = %(repair_id)s AND outcome = 'started'
