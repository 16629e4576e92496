-- A delete that no trigger saw, with the row as BigQuery last had it. The next window carries it.
INSERT INTO content_changes (entity, entity_id, tenant_id, op, last_row)
VALUES (%(entity)s, %(entity_id)s, %(tenant_id)s, 'D', %(last_row)s)
