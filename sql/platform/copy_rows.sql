-- COPY loads a table in one round trip; the identifiers come from constants of the loader.
COPY {table} ({columns}) FROM STDIN
