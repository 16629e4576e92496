-- The next keys that are current, of one tenant or of all.
SELECT entity_id FROM `{table}`
WHERE entity_id > @after AND (@tenant = '' OR tenant_id = @tenant) ORDER BY entity_id LIMIT @page
