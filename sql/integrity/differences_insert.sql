-- Differences of a report, ten thousand a statement. No COPY: row-level security is forced, and refuses it to owners.
INSERT INTO integrity_differences (report_id, position, comparison, kind, table_name, entity_id, tenant_id, detail)
SELECT %(report_id)s, n.*
FROM unnest(
    %(position)s::int[], %(comparison)s::text[], %(kind)s::text[], %(table_name)s::text[], %(entity_id)s::text[],
    %(tenant_id)s::text[], %(detail)s::jsonb[]
) AS n
