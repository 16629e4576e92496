-- Back into the queue without counting the attempt: revision 0008 has the function.
SELECT generation_release(%(id)s, %(token)s) AS released
