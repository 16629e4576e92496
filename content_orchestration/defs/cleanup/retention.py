"""What is past its plan: deleted content, versions that others replaced, and the history in BigQuery behind it."""

from content_orchestration.core.cleanup.model import Cleaned
from content_orchestration.core.replication.tables import CLEANUP_AUDIT, SYNC_LOG
from content_orchestration.defs.cleanup.running import CleanupConfig, cleanup_asset
from content_orchestration.defs.schema.assets import postgres_schema, zerodb_collections
from content_orchestration.policies import KIND_BIGQUERY, KIND_POSTGRES, KIND_ZERODB, POOL_COMPACTION
from content_orchestration.resources.cleanup import CleanupResource


def _purge(cleanup: CleanupResource, run_id: str, config: CleanupConfig) -> Cleaned:
    from content_orchestration.core.cleanup import retention

    database, documents = cleanup.postgres.client(), cleanup.zerodb.client()
    return retention.purge_expired(
        database, documents, run_id=run_id, dry_run=config.dry_run, limit=config.limit, rules=cleanup.retention_rules()
    )


def _supersede(cleanup: CleanupResource, run_id: str, config: CleanupConfig) -> Cleaned:
    from content_orchestration.core.cleanup import versions

    database, documents = cleanup.postgres.client(), cleanup.zerodb.client()
    return versions.purge_superseded(
        database, documents, run_id=run_id, dry_run=config.dry_run, limit=config.limit, rules=cleanup.retention_rules()
    )


def _compact(cleanup: CleanupResource, run_id: str, config: CleanupConfig) -> Cleaned:
    from content_orchestration.core.cleanup import compaction

    return compaction.compact(
        cleanup.postgres.client(),
        cleanup.bigquery.client(),
        run_id=run_id,
        dry_run=config.dry_run,
        limit=config.limit,
        max_bytes=cleanup.compaction_max_bytes(),
        never=cleanup.never(),
    )


purged_content = cleanup_asset(
    "purged_content",
    {"purged_content": _purge},
    table="content_storage_metadata",
    deps=[postgres_schema, zerodb_collections],
    kinds={KIND_POSTGRES, KIND_ZERODB},
    description="Content that was deleted longer ago than its tenant's plan keeps it goes from PostgreSQL, ZeroDB and "
    "the object store. Nothing of a tenant under a legal hold does.",
)
superseded_versions = cleanup_asset(
    "superseded_versions",
    {"superseded_versions": _supersede},
    table="content_versions",
    deps=[purged_content],
    kinds={KIND_POSTGRES, KIND_ZERODB},
    description="Versions that another one replaced longer ago than the plan keeps them go, with their bodies.",
)
history_compaction = cleanup_asset(
    "history_compaction",
    {"history_compaction": _compact},
    table="cleanup_audit",
    deps=[SYNC_LOG.name, CLEANUP_AUDIT.table.name],
    kinds={KIND_BIGQUERY},
    pool=POOL_COMPACTION,
    beside_others=["history_compaction"],
    description="The history in BigQuery, partition by partition, down to what restores need from each plan's horizon "
    "on. The row count is that of partitions which are left.",
)
