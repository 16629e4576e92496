-- Staged rows as COPY text.
COPY restore_staging (n, id, doc) FROM STDIN
