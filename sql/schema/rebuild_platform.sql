-- Revision 0001 adds columns to this table of the platform; here it finds them on a copy of its shape.
CREATE TABLE content_rebuild.content_items (LIKE public.content_items)
