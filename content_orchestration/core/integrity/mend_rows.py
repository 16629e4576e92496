"""Brings back what PostgreSQL itself lost and another side proves: version records, and counters from what is stored.

No row is deleted or overwritten here. Rows that contradict each other are for a person to decide.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg

from content_orchestration.core.database import Database
from content_orchestration.core.errors import Permanent
from content_orchestration.core.integrity.mend import Tiers, restore_documents
from content_orchestration.core.integrity.proof import has_hash
from content_orchestration.core.integrity.repair_log import Action, Outcome
from content_orchestration.core.quota.usage import compute_usage
from content_orchestration.core.replication.tables import CONTENT_VERSIONS
from content_orchestration.core.sql import on_table, statement
from content_orchestration.core.warehouse import Warehouse

_CONTRADICTION = (
    "rows of PostgreSQL contradict each other, and a repair does not choose between them: look at both in the history "
    "(content_storage_dr, content_versions_dr) and restore the one that is wrong"
)


def mend_usage(tiers: Tiers, actions: Sequence[Action]) -> None:
    """Count tenants' usage from what is stored."""
    for action in actions:
        try:
            usage = compute_usage(tiers.database, action.found.difference.entity_id)
        except Permanent as error:
            action.end(Outcome.REFUSED, reason=str(error))
            continue
        action.detail["drift_bytes"] = usage.drift_bytes


def mend_versions(tiers: Tiers, actions: Sequence[Action]) -> None:
    """Insert version records that are missing, as BigQuery's history proves them; `detail.missing` lists them."""
    for action in actions:
        if not _missing(action.found.difference.detail):
            action.end(Outcome.REFUSED, reason=_CONTRADICTION)
        elif tiers.warehouse is None:
            action.end(Outcome.REFUSED, reason="BigQuery is not set up, and only its history holds the records besides")
    due = [action for action in actions if action.outcome is None]
    if tiers.warehouse is None or not due:
        return
    known = _version_states(tiers.warehouse, sorted({action.found.difference.entity_id for action in due}))
    for action in due:
        content, wanted = action.found.difference.entity_id, _missing(action.found.difference.detail)
        lost = [version for version in wanted if (content, version) not in known]
        if lost:
            named = ", ".join(map(str, lost))
            action.end(Outcome.REFUSED, reason=f"BigQuery's history proves no record of version {named}")
            continue
        documents = []
        for version in wanted:
            try:
                documents += _insert(tiers.database, known[content, version])
            except psycopg.Error as error:
                reason = f"PostgreSQL does not take the record of version {version} back: {error}"
                action.end(Outcome.REFUSED, reason=reason)
        restore_documents(tiers, documents)
        action.detail |= {"restored": documents, "source": "bigquery"}


def _missing(detail: Mapping[str, Any]) -> list[int]:
    """The versions without a record: those of a gap, or the one that the item points to."""
    if detail.get("reason") == "no_version_row":
        return [int(detail["pointer"])]
    return [int(version) for version in detail.get("missing", [])]


def _version_states(warehouse: Warehouse, contents: Sequence[str]) -> dict[tuple[str, int], str]:
    """The newest proven `row_json` of each version record of these items."""
    sql = on_table("bigquery/version_states", warehouse.qualified(CONTENT_VERSIONS.table.name))
    known: dict[tuple[str, int], str] = {}
    for row in warehouse.query(sql, {"contents": list(contents)}):
        if not has_hash(row["row_json"], row["row_sha256"]):
            continue
        record = _record(row["row_json"])
        content, version = record.get("content_id"), record.get("version")
        if isinstance(content, str) and isinstance(version, int):
            known.setdefault((content, version), row["row_json"])
    return known


def _record(row_json: str) -> dict[str, object]:
    try:
        record = json.loads(row_json)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def _insert(database: Database, row_json: str) -> list[str]:
    """The document that the record names, where it was not there."""
    with database.connection() as connection:
        rows = connection.execute(statement("integrity/version_restore"), {"row_json": row_json}).fetchall()
    return [row["zerodb_row_id"] for row in rows]
