-- Counters of a queue anew, after rows were changed by hand: revision 0008 has the function.
SELECT generation_recount(%(queue_id)s) AS changed
