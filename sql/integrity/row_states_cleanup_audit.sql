-- The rows of cleanup_audit with some ids: payload hash, and the row version. An entry of no tenant has the nil UUID, as in BigQuery.
SELECT t.id::text AS entity_id, coalesce(t.tenant_id, '00000000-0000-0000-0000-000000000000')::text AS tenant_id,
       t.xmin::text AS row_version,
       encode(sha256(convert_to(row_to_json(t)::text, 'UTF8')), 'hex') AS row_sha256
FROM cleanup_audit t
WHERE (%(tenant)s::uuid IS NULL OR t.tenant_id = %(tenant)s::uuid) AND t.id = ANY (%(ids)s::uuid[])
