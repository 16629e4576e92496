"""Pools, retries, owners, groups and tags: named once, used everywhere. No engine and no asset belongs here."""

from datetime import timedelta

import dagster as dg

OWNERS = ["team:data-engineering"]

# Pool names. `dagster.yaml` gives every pool one slot a run, so two runs of the same work never overlap in the queue;
# the engines' own advisory locks hold outside of it.
POOL_SCHEMA = "schema"
POOL_MIGRATION = "migration"
POOL_REPLICATION = "replication"
POOL_INTEGRITY = "integrity"
POOL_RESTORE = "restore"
POOL_DRILL = "drill"
POOL_MAINTENANCE = "maintenance"
POOL_CLEANUP = "cleanup"
# Long work of cleanup that removes nothing of PostgreSQL: renders must not wait for it.
POOL_COMPACTION = "compaction"
POOL_LISTING = "listing"

# For what failures.py calls worth a retry: the clients have already retried for a minute or two by then.
RETRY = dg.RetryPolicy(max_retries=2, delay=15, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.FULL)

# The recovery point objective: no change may be older than this before it is in BigQuery.
RPO = timedelta(minutes=15)

TENANTS = dg.DynamicPartitionsDefinition(name="tenants")


def tenants_a_run(count: int) -> dg.BackfillPolicy:
    """How a backfill of tenants is cut into runs: `count` tenants each, 0 for all in one.

    All in one costs 44 ms a tenant, a run each 354 ms: but runs can be spread over machines.
    """
    return dg.BackfillPolicy.multi_run(count) if count else dg.BackfillPolicy.single_run()


KIND_POSTGRES = "postgres"
KIND_BIGQUERY = "bigquery"
KIND_ZERODB = "mongodb"  # the UI has no icon for ZeroDB; its filters and documents are MongoDB's

# Tags of a run that works a batch. `dagster.yaml` bounds by them how many run at once, in all and for one tenant, so
# that batches that last for hours leave room for replication; the sensors find a batch's runs by them.
GENERATION_TAG = "content_orchestration/generation"
BATCH_TAG = "content_orchestration/batch"
BATCH_TENANT_TAG = "content_orchestration/tenant"
BATCH_ATTEMPT_TAG = "content_orchestration/attempt"
