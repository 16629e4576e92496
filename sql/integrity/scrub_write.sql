-- How far the scrub has come: all that stands at the position or before it has been compared in this cycle.
INSERT INTO body_scrub_progress (scope, position, cycle_started_at, cycle_completed_at, bodies, bytes, updated_at)
VALUES (%(scope)s, %(position)s, %(cycle_started_at)s, %(completed_at)s, %(bodies)s, %(bytes)s, clock_timestamp())
ON CONFLICT (scope) DO UPDATE
SET position = excluded.position, cycle_started_at = excluded.cycle_started_at,
    cycle_completed_at = excluded.cycle_completed_at, bodies = excluded.bodies, bytes = excluded.bytes,
    updated_at = excluded.updated_at
