-- Retried, failed or stale, in one round trip: revision 0008 has the function.
SELECT generation_fail(
    %(id)s, %(token)s, %(category)s, %(message)s, %(final)s, %(after)s::interval, %(base)s::interval, %(longest)s::interval) AS outcome
