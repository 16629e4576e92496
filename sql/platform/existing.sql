-- Which of the named tables are there already, so that the creator can say what it created.
SELECT name FROM unnest(%(names)s::text[]) AS names (name) WHERE to_regclass(quote_ident(name)) IS NOT NULL
