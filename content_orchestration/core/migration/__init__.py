"""Legacy rows into the content tables, once and completely."""
