-- A listing that came to its end: from here on what it saw counts.
UPDATE stray_looks SET finished_at = clock_timestamp(), tenants = %(tenants)s, objects = %(objects)s, strays = %(strays)s
WHERE look_id = %(look_id)s
