-- Rows of a table and two sums over 128 bits of the SHA-256 of each as PostgreSQL prints it: equal in whatever order. With the star, since a column may have the name of the alias.
SELECT count(*) AS rows, coalesce(sum(('x' || substr(h, 1, 16))::bit(64)::bigint), 0)::text AS high,
       coalesce(sum(('x' || substr(h, 17, 16))::bit(64)::bigint), 0)::text AS low
FROM (SELECT encode(sha256(convert_to((t.*)::text, 'UTF8')), 'hex') AS h FROM ONLY {table} AS t) AS hashed
