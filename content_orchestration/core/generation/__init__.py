"""Batch generation: a durable, fenced queue in PostgreSQL, the providers behind it, and the work that joins them."""
