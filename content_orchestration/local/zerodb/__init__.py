"""A stand-in for ZeroDB, for one machine: the REST contract of `openapi.yaml` on SQLite, with faults on demand.

It keeps the vendor's habits that a client has to live with: inserts are not idempotent, so the same document twice is
two rows. Start it with `python -m content_orchestration.local.zerodb`. The client of ZeroDB is in `resources/`.
"""
