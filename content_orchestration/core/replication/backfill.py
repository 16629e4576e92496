"""Snapshots: every row of a tenant into BigQuery, beside the windows and without holding them up.

Order is what makes it consistent. The sync id is taken before the snapshot, so every window that opens later has a
greater one; a change that the snapshot does not show is in such a window, and one that it shows may come again.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

from content_orchestration.core.database import Database
from content_orchestration.core.documents import DocumentStore
from content_orchestration.core.errors import Permanent
from content_orchestration.core.failpoints import reach
from content_orchestration.core.replication.appended import send_missing
from content_orchestration.core.replication.extract import BodyReader
from content_orchestration.core.replication.keys import reconcile_keys
from content_orchestration.core.replication.load import Loader
from content_orchestration.core.replication.payload import ParquetFile
from content_orchestration.core.replication.tables import ENTITIES, Entity, view_name
from content_orchestration.core.replication.window import Window, WindowLog
from content_orchestration.core.sql import on_table, statement
from content_orchestration.core.warehouse import Warehouse

if TYPE_CHECKING:
    from content_orchestration.core.replication.snapshot_stream import Snapshot

FRESH_SNAPSHOT_CONFIRMATION = "begin a new history in this cluster"


@dataclass
class TenantBackfill:
    """What the snapshot of one tenant loaded. Bytes are Parquet."""

    tenant_id: str
    sync_id: int
    rows: dict[str, int] = field(default_factory=dict)
    bytes_loaded: int = 0
    bodies_withheld: int = 0
    tombstones: int = 0
    seconds: float = 0.0
    skipped: bool = False

    def as_metadata(self) -> dict[str, Any]:
        """For the partition's metadata."""
        return {
            "sync_id": self.sync_id,
            "skipped_as_complete": self.skipped,
            "rows_loaded": self.rows,
            "bytes_loaded": self.bytes_loaded,
            "bodies_withheld": self.bodies_withheld,
            "tombstones_found_missing": self.tombstones,
            "seconds": round(self.seconds, 3),
        }


class Snapshotter:
    """Backfills tenants from one exported snapshot."""

    def __init__(
        self,
        database: Database,
        store: DocumentStore,
        warehouse: Warehouse,
        *,
        max_bytes: int,
        run_id: str,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._store = store
        self._warehouse = warehouse
        self._max_bytes = max_bytes
        self._run_id = run_id
        self._clock = clock
        self._log = WindowLog(database)
        self._parts = {entity.table.name: 0 for entity in ENTITIES}
        self._loader = Loader(warehouse, self._log, sleep)
        self.audit_entries_sent = 0

    def backfill(self, tenants: Sequence[str], *, only_missing: bool = False) -> Iterator[TenantBackfill]:
        """Load each tenant and yield its report as it finishes. Raises `Permanent` or `Transient`.

        With `only_missing` a tenant of whom both sides hold equally many rows is left as it is. The cleanup audit is
        not of tenants: what BigQuery lacks of it goes into the change log first, and the next window carries it.

        A tenant that was cut off is done anew by the next run, under a new sync id: what it had loaded stays in the
        history as an older state of the same rows.
        """
        # It brings Arrow, which every process would load with the definitions.
        from content_orchestration.core.replication.snapshot_stream import exported_snapshot

        self._log.start()
        window = self._reserve()
        self.audit_entries_sent = send_missing(self._database, self._warehouse)
        complete = self._complete() if only_missing else set()
        with exported_snapshot(self._database) as snapshot:
            for tenant in tenants:
                started = self._clock()
                if tenant in complete:
                    yield TenantBackfill(tenant, window.sync_id, skipped=True)
                    continue
                report = self._tenant(tenant, window, snapshot)
                report.seconds = self._clock() - started
                yield report

    def _reserve(self) -> Window:
        with self._database.connection() as connection:
            row = connection.execute(statement("replication/backfill_reserve")).fetchone()
        if row is None:
            raise Permanent("the replication cursor is gone: materialize postgres_schema, then run this again")
        return Window(row["sync_id"], "", "0", "0", 0, None, None, [], row["synced_at"], attempts=1)

    def _complete(self) -> set[str]:
        """Tenants of whom both sides hold equally many rows of every table."""
        complete: set[str] | None = None
        for entity in ENTITIES:
            with self._database.connection() as connection:
                rows = connection.execute(statement("replication/tenant_counts"), {"entity": entity.name}).fetchall()
            here = {(row["tenant_id"], row["rows"]) for row in rows}
            view = self._warehouse.qualified(view_name(entity.table.name))
            query = on_table("bigquery/tenant_counts", view)
            there = {row["tenant_id"]: row["present"] for row in self._warehouse.query(query)}
            agree = {tenant for tenant, count in here if there.get(tenant, 0) == count}
            complete = agree if complete is None else complete & agree
        return complete or set()

    def _tenant(self, tenant: str, window: Window, snapshot: "Snapshot") -> TenantBackfill:
        report = TenantBackfill(tenant, window.sync_id)
        opened = {"sync_id": window.sync_id, "tenant_id": UUID(tenant), "run_id": self._run_id}
        with self._database.connection() as connection:
            connection.execute(statement("replication/backfill_open"), opened | {"synced_at": window.synced_at})
        reach("backfill_opened")
        bodies = BodyReader(self._database, self._store)
        for entity in ENTITIES:
            self._entity(entity, tenant, window, snapshot, bodies, report)
            report.tombstones += reconcile_keys(self._database, self._warehouse, entity, tenant)
        report.bodies_withheld = len(bodies.report.withheld)
        closed = {
            "rows_by_table": json.dumps(report.rows),
            "bytes_loaded": report.bytes_loaded,
            "tombstones": report.tombstones,
        }
        with self._database.connection() as connection, connection.cursor() as cursor:
            if bodies.report.withheld:
                cursor.executemany(statement("replication/quarantine_body"), bodies.report.withheld)
            cursor.execute(statement("replication/backfill_close"), opened | closed)
        reach("backfill_closed")
        return report

    def _entity(
        self,
        entity: Entity,
        tenant: str,
        window: Window,
        snapshot: "Snapshot",
        bodies: BodyReader,
        report: TenantBackfill,
    ) -> None:
        from content_orchestration.core.replication.snapshot_files import snapshot_files

        table = entity.table.name
        report.rows[table] = 0
        # The files hold a connection and threads, which must not wait for the garbage collector.
        with closing(
            snapshot_files(
                snapshot, entity, tenant, window, bodies, first_part=self._parts[table], max_bytes=self._max_bytes
            )
        ) as files:
            for file in files:
                self._load(file, table, window, report)

    def _load(self, file: ParquetFile, table: str, window: Window, report: TenantBackfill) -> None:
        with file.close() as content:
            self._loader.load(window, table, self._parts[table], file.rows, content, lambda job_id: None)
            report.bytes_loaded += content.seek(0, 2)
        # All tenants of a run share its sync id, so the files of a table are numbered across them.
        self._parts[table] += 1
        report.rows[table] += file.rows


def begin_anew(database: Database, confirm: str) -> Mapping[str, Any]:
    """Point the cursor at this cluster, so that a snapshot of every tenant and the windows after it make a new history.

    Raises `Permanent` unless `confirm` is the exact sentence: until the snapshot is done, BigQuery lacks what changed
    between the old cursor and now.
    """
    if confirm != FRESH_SNAPSHOT_CONFIRMATION:
        raise Permanent(
            f"confirm is {confirm!r}, which is not the sentence that this job asks for: nothing was changed. To begin "
            f"anew, set confirm to {FRESH_SNAPSHOT_CONFIRMATION!r}; then every tenant is backfilled"
        )
    with database.advisory_lock("replication"), database.connection() as connection:
        cluster = connection.execute(statement("replication/cluster")).fetchone() or {}
        connection.execute(statement("replication/cursor_create"), cluster)
        before = connection.execute(statement("replication/cursor_read")).fetchone() or {}
        abandoned = connection.execute(statement("replication/abandon_windows")).rowcount
        connection.execute(statement("replication/fresh_start"), cluster)
        after = connection.execute(statement("replication/cursor_read")).fetchone() or {}
    return {
        "cluster_before": before["system_identifier"],
        "cluster": after["system_identifier"],
        "next_xid": after["next_xid"],
        "windows_abandoned": abandoned,
    }
