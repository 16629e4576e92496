-- Reports beyond the newest of their scope, with their differences. What repairs did stays.
DELETE FROM integrity_reports
WHERE scope = %(scope)s AND report_id < (
    SELECT report_id FROM integrity_reports WHERE scope = %(scope)s ORDER BY report_id DESC OFFSET %(keep)s - 1 LIMIT 1
)
