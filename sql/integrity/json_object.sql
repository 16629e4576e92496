-- Whether PostgreSQL reads this text as a JSON object with fields of text: a tombstone that it cannot read would stop every sync.
SELECT jsonb_typeof(%(text)s::jsonb) = 'object' AS readable, %(text)s::json ->> 'tenant_id' AS tenant_id
