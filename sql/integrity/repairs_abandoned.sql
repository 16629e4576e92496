-- Actions that a run began and did not end: it was killed. What they did is looked at anew by whoever repairs next.
UPDATE integrity_repairs
SET outcome = 'unknown', finished_at = clock_timestamp(), detail = jsonb_build_object('reason', 'the run ended before it said how this went')
WHERE outcome = 'started'
