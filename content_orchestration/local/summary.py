"""What is in each tier after a run, as a table for the terminal and as `demo.json`."""

import json
from pathlib import Path
from typing import Any

from content_orchestration.core.replication.tables import ENTITIES, view_name
from content_orchestration.core.schema.documents import COLLECTIONS
from content_orchestration.core.schema.postgres import table_counts
from content_orchestration.core.sql import on_table, statement
from content_orchestration.resources.bigquery import BigQueryDRResource
from content_orchestration.resources.postgres import PostgresResource
from content_orchestration.resources.zerodb import ZeroDBResource
from content_orchestration.settings import Settings


def tier_counts(settings: Settings) -> list[tuple[str, str, int]]:
    """(tier, table or collection, rows), read from the tiers themselves."""
    postgres, zerodb, bigquery = PostgresResource(), ZeroDBResource.from_settings(settings), BigQueryDRResource()
    try:
        warehouse = bigquery.client()
        documents = zerodb.client().collections()
        lines = [("PostgreSQL", table, rows) for table, rows in table_counts(postgres.client()).items()]
        lines += [("ZeroDB", name, documents[name]) for name in COLLECTIONS]
        for entity in ENTITIES:
            view = view_name(entity.table.name)
            tenants = warehouse.query(on_table("bigquery/tenant_counts", warehouse.qualified(view)))
            lines.append(("BigQuery", view, sum(tenant["present"] for tenant in tenants)))
        return lines
    finally:
        postgres.close()
        zerodb.close()
        bigquery.close()


def as_table(lines: list[tuple[str, str, int]]) -> str:
    """The counts as an aligned table."""
    shown, last = [f"{'tier':<11} {'table':<26} {'rows':>9}"], ""
    for tier, name, rows in lines:
        shown.append(f"{tier if tier != last else '':<11} {name:<26} {rows:>9,}")
        last = tier
    return "\n".join(shown)


def write_demo_report(settings: Settings, seconds: float) -> tuple[Path, dict[str, Any]]:
    """Write `demo.json` from what the tiers hold, and return its path and content."""
    counts = {(tier, name): rows for tier, name, rows in tier_counts(settings)}
    postgres = PostgresResource()
    try:
        with postgres.client().connection() as connection:
            legacy = connection.execute(statement("migration/demo_counts")).fetchone() or {}
    finally:
        postgres.close()
    report = {
        "tenants": legacy["tenants"],
        "content_items": counts["PostgreSQL", "content_storage_metadata"],
        "media_files": counts["PostgreSQL", "media_assets"],
        "migrated": legacy["migrated"],
        "quarantined": counts["PostgreSQL", "migration_quarantine"],
        "replicated": counts["BigQuery", "content_storage_current"],
        "seconds": round(seconds, 1),
    }
    path = settings.local_state_dir / "demo.json"
    path.write_text(json.dumps(report) + "\n", encoding="utf-8")
    return path, report
