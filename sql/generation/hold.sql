-- The provider has replied: fenced, from running to storing, in one round trip: revision 0008 has the function.
SELECT generation_hold(%(id)s, %(token)s, %(step)s) AS held
