-- Which of these files in quarantine nothing names: what is named is named by its own row, or by another of the same file.
SELECT k.key FROM unnest(%(keys)s::text[]) AS k (key)
WHERE NOT EXISTS (
    SELECT FROM cleanup_quarantine o
    JOIN cleanup_quarantine q ON q.file_key = o.file_key AND q.quarantine_key = k.key AND q.bucket = %(bucket)s AND q.state <> 'deleted'
    WHERE o.quarantine_id = CASE WHEN k.key ~ '^cleanup-quarantine/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                                 THEN split_part(k.key, '/', 2)::uuid END)
