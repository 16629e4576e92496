-- What a row weighs: on the heap, and printed.
SELECT pg_relation_size('content_storage_metadata') / count(*) AS heap_bytes, avg(length(row_to_json(r)::text))::integer AS printed_bytes
FROM content_storage_metadata r
