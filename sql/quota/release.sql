-- What is left of a reservation goes back: revision 0006 has the function.
SELECT * FROM quota_release(%(reservation_id)s)
