-- How far the scrub has come, and whether its cycle is complete.
SELECT position, cycle_started_at, cycle_completed_at, bodies, bytes FROM body_scrub_progress WHERE scope = %(scope)s
