-- Rows that were quarantined once and are items now.
UPDATE migration_quarantine SET resolved_at = now() WHERE source = ANY (%(sources)s) AND resolved_at IS NULL
