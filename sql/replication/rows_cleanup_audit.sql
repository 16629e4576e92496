-- What the window added to cleanup_audit, by key. Its rows are never changed or deleted, so there is no tombstone.
-- An entry of no tenant has the nil UUID in the history, where the column is required; row_json keeps its null.
SELECT 'upsert' AS op,
       r.id::text AS entity_id,
       coalesce(r.tenant_id, '00000000-0000-0000-0000-000000000000')::text AS tenant_id,
       r.audit_id,
       CASE WHEN r.at >= '0001-01-01 00:00:00+00' AND r.at < '10000-01-01 00:00:00+00' THEN r.at END AS at,
       r.run_id, r.kind, r.action, r.subject_id, r.location, r.size_bytes, r.reason,
       r.predicate_version,
       CASE WHEN r.quarantined_at >= '0001-01-01 00:00:00+00' AND r.quarantined_at < '10000-01-01 00:00:00+00'
            THEN r.quarantined_at END AS quarantined_at,
       r.detail::text AS detail,
       row_to_json(r)::text AS row_json
FROM (
    SELECT DISTINCT entity_id
    FROM content_changes
    WHERE entity = 'cleanup_audit' AND op <> 'T' AND change_xid >= %(low)s::xid8 AND change_xid < %(high)s::xid8
) AS c
JOIN cleanup_audit r ON r.id = c.entity_id
WHERE %(after)s::uuid IS NULL OR c.entity_id > %(after)s
ORDER BY c.entity_id
