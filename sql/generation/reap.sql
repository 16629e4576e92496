-- Items whose lease has expired by the database's clock: revision 0017 has the function.
SELECT retried, failed FROM generation_reap(%(most)s::integer)
