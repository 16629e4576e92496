-- What a drill measured. A drill is finished once.
UPDATE restore_drills
SET finished_at = clock_timestamp(), detection_seconds = %(detection_seconds)s, rows_lost = %(rows_lost)s,
    rpo_seconds = %(rpo_seconds)s, rto_seconds = %(rto_seconds)s, verified = %(verified)s, detail = %(detail)s::jsonb
WHERE drill_id = %(drill_id)s AND finished_at IS NULL
