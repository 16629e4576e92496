-- A compaction, before anything of it is done.
INSERT INTO history_compactions (run_id, horizons, earliest)
VALUES (%(run_id)s, %(horizons)s::text[], %(earliest)s::jsonb)
RETURNING compaction_id::text AS compaction_id
