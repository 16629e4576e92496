-- The ids whose fence accepted the completion, in one round trip: revision 0016 has the function.
SELECT generation_complete(
    %(ids)s::text[], %(tokens)s::bigint[], %(contents)s::uuid[], %(words)s::integer[], %(scores)s::integer[], %(providers)s::text[],
    %(bytes)s::bigint[]) AS id
