-- The books of a batch, closed once: revision 0008 has the function.
SELECT outcome, status, reservation_id FROM generation_finish(%(batch_id)s)
