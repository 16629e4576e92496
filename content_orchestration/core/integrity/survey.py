"""Which comparisons make a report of each scope, and the taking of one. How each looks is in its own module.

Comparisons never raise what a tier may raise: they come back as unknown, and the others go on.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from content_orchestration.core.database import Database
from content_orchestration.core.documents import DocumentStore
from content_orchestration.core.integrity.bodies import scan_bodies
from content_orchestration.core.integrity.deep import deep_compare, record_scrub, scrub_partitions
from content_orchestration.core.integrity.documents import compare_documents
from content_orchestration.core.integrity.findings import Comparison
from content_orchestration.core.integrity.media import compare_media
from content_orchestration.core.integrity.outcome import looked
from content_orchestration.core.integrity.report import IntegrityReport, Scope
from content_orchestration.core.integrity.report_store import store_report
from content_orchestration.core.integrity.scrub import scrub_bodies
from content_orchestration.core.integrity.spill import compare_spill
from content_orchestration.core.integrity.usage import compare_usage
from content_orchestration.core.integrity.versions import compare_versions
from content_orchestration.core.replication.tables import REPLICATED, Entity
from content_orchestration.core.warehouse import Warehouse

LOCK = "integrity_report"


@dataclass(frozen=True)
class Sides:
    """The three tiers. `warehouse` is None where BigQuery is not set up, and `why_not` says why."""

    database: Database
    store: DocumentStore
    warehouse: Warehouse | None
    why_not: str = ""


@dataclass(frozen=True)
class Limits:
    """What bounds a survey. `now` (UTC) is resolved once; `max_bytes` is what one BigQuery query may read."""

    now: datetime
    max_bytes: int
    scrub_days: int
    grace: timedelta = timedelta(hours=1)
    """How young a document without a row may be before it is a difference: its row may still be on its way."""


@dataclass
class Survey:
    """Comparisons that were made, and what may be noted only when their report is stored."""

    comparisons: list[Comparison] = field(default_factory=list)
    afterwards: list[Callable[[], None]] = field(default_factory=list)


def take_report(
    sides: Sides,
    limits: Limits,
    scope: Scope,
    *,
    run_id: str,
    tenant_id: str | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> IntegrityReport:
    """Make the comparisons of a scope (hourly, full, tenant) and store the report.

    Raises `AlreadyRunning` while another report is taken, `Transient` where PostgreSQL cannot keep it.
    """
    report = IntegrityReport(scope, run_id, limits.now, tenant_id=tenant_id)
    with sides.database.advisory_lock(LOCK):
        started = clock()
        survey = _survey(sides, limits, report, clock)
        report.comparisons = survey.comparisons
        report.seconds = clock() - started
        store_report(sides.database, report)
        # A partition counts as looked at only when what was found in it is kept.
        for note in survey.afterwards:
            note()
    return report


def check_table(
    sides: Sides, limits: Limits, entity: Entity, *, run_id: str, clock: Callable[[], float] = time.monotonic
) -> IntegrityReport:
    """The cheap comparison of one table after a sync. Stored, for a repair to name, only where something differs."""
    comparison = _rows(sides, limits, entity, None, clock)
    report = IntegrityReport(Scope.SYNC, run_id, limits.now, [comparison], comparison.seconds)
    if comparison.differences:
        store_report(sides.database, report)
    return report


def _survey(sides: Sides, limits: Limits, report: IntegrityReport, clock: Callable[[], float]) -> Survey:
    survey = Survey()
    tenant = report.tenant_id
    for entity in REPLICATED:
        survey.comparisons.append(_rows(sides, limits, entity, tenant, clock))
        # The history is partitioned by day and not by tenant, so one tenant's share is not hashed again.
        if report.scope != Scope.TENANT:
            everything = report.scope == Scope.FULL
            survey.comparisons.append(_deep(survey, sides, limits, entity, everything, clock))
    if report.scope == Scope.HOURLY:
        survey.comparisons.append(_scrub(sides, limits, report.run_id, clock))
    else:
        survey.comparisons.append(scan_bodies(sides.database, sides.store, tenant_id=tenant, clock=clock))
    survey.comparisons += [
        compare_documents(
            sides.database, sides.store, tenant_id=tenant, grace=limits.grace, now=limits.now, clock=clock
        ),
        compare_versions(sides.database, sides.store, tenant_id=tenant, clock=clock),
        compare_media(sides.database, sides.store, tenant_id=tenant, clock=clock),
        compare_spill(sides.database, tenant_id=tenant, grace=limits.grace, now=limits.now, clock=clock),
        compare_usage(sides.database, tenant_id=tenant, clock=clock),
    ]
    return survey


def _scrub(sides: Sides, limits: Limits, run_id: str, clock: Callable[[], float]) -> Comparison:
    def keep(found: Comparison) -> None:
        """What a scrub finds is stored before its cursor moves on: a kill loses none of it."""
        store_report(sides.database, IntegrityReport(Scope.SCRUB, run_id, limits.now, [found], found.seconds))

    share_of = timedelta(days=limits.scrub_days)
    return scrub_bodies(sides.database, sides.store, share_of=share_of, now=limits.now, on_found=keep, clock=clock)


def _rows(
    sides: Sides, limits: Limits, entity: Entity, tenant_id: str | None, clock: Callable[[], float]
) -> Comparison:
    # It brings Arrow, which every process would load with the definitions.
    from content_orchestration.core.integrity.warehouse_rows import compare_rows

    def look(warehouse: Warehouse) -> Comparison:
        return compare_rows(
            sides.database, warehouse, entity, max_bytes=limits.max_bytes, tenant_id=tenant_id, clock=clock
        )

    return _against_warehouse(f"{entity.table.name}: rows", sides, look, clock)


def _deep(
    survey: Survey, sides: Sides, limits: Limits, entity: Entity, everything: bool, clock: Callable[[], float]
) -> Comparison:
    def look(warehouse: Warehouse) -> Comparison:
        # A full report takes every partition, whenever it was last read.
        days = (
            None
            if everything
            else scrub_partitions(sides.database, warehouse, entity, scrub_days=limits.scrub_days, now=limits.now)
        )
        found = deep_compare(sides.database, warehouse, entity, max_bytes=limits.max_bytes, days=days, clock=clock)
        if days and not found.unknown:
            survey.afterwards.append(lambda: record_scrub(sides.database, entity, days, limits.now))
        return found

    return _against_warehouse(f"{entity.table.name}: stored hashes", sides, look, clock)


def _against_warehouse(
    name: str, sides: Sides, look: Callable[[Warehouse], Comparison], clock: Callable[[], float]
) -> Comparison:
    """A comparison with BigQuery, unknown where it is not set up: a copy that nobody compares is not clean."""
    warehouse = sides.warehouse
    if warehouse is None:
        return Comparison(name, unknown=sides.why_not)
    return looked(name, lambda: look(warehouse), clock)
