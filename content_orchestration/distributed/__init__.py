"""Runs on more than one machine by Celery: the launcher that Dagster names, and the application that workers run.

Nothing here is imported unless `dagster.yaml` or a worker names it. Kubernetes needs none of it: `deploy/helm/`.
"""
