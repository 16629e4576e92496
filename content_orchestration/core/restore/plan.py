"""What a restore will do, told before it is done: counts, bytes, time, and the hash that names exactly this plan."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from content_orchestration.core.restore.request import RestoreRequest

# Measured by benchmarks/restore.py on two cores: rows and MiB of bodies a second. An order of magnitude elsewhere.
_ROWS_A_SECOND = 30_000
_BODY_BYTES_A_SECOND = 20 * 1024 * 1024
_SECONDS_A_TABLE = 2.0


@dataclass(frozen=True)
class TablePlan:
    """One table of PostgreSQL: the rows that the history has for it at that sync, and the bytes of their bodies.

    `state_sum` is another number as soon as one of the rows comes from another sync.
    """

    table: str
    rows: int
    body_bytes: int
    state_sum: int


@dataclass(frozen=True)
class RestorePlan:
    """A plan. `bytes_billed` is what BigQuery's dry run says that the restore scans; an emulator says 0.

    `columns` are those of the target, by table; `cluster` tells what is done to replication's cursor, where anything.
    """

    request: RestoreRequest
    as_of_sync_id: int
    as_of: str
    tables: Sequence[TablePlan]
    columns: Mapping[str, Sequence[str]]
    chunk_bytes: int
    bytes_billed: int
    cluster: str | None = None

    @property
    def rows(self) -> int:
        """Rows of all tables."""
        return sum(table.rows for table in self.tables)

    @property
    def body_bytes(self) -> int:
        """Bytes of bodies in UTF-8; items and versions that name the same body count it twice, as it is read twice."""
        return sum(table.body_bytes for table in self.tables)

    @property
    def estimated_seconds(self) -> float:
        """From the measured speeds of `benchmarks/restore.py`: an order of magnitude."""
        rows = self.rows / _ROWS_A_SECOND if self.request.rows_wanted else 0.0
        bodies = self.body_bytes / _BODY_BYTES_A_SECOND if self.request.bodies_wanted else 0.0
        return rows + bodies + _SECONDS_A_TABLE * len(self.tables)

    @property
    def plan_hash(self) -> str:
        """SHA-256 over everything that decides what will run; the bill is left out."""
        decided = {name: value for name, value in self.as_json().items() if name not in ("as_of", "bytes_billed")}
        return hashlib.sha256(
            json.dumps({"request": self.request.as_json(), **decided}, sort_keys=True).encode()
        ).hexdigest()

    def as_json(self) -> dict[str, Any]:
        """The plan without its request, as `restore_runs` keeps it."""
        return {
            "as_of_sync_id": self.as_of_sync_id,
            "as_of": self.as_of,
            "tables": [asdict(table) for table in self.tables],
            "columns": {table: list(names) for table, names in self.columns.items()},
            "chunk_bytes": self.chunk_bytes,
            "bytes_billed": self.bytes_billed,
            "cluster": self.cluster,
        }

    @classmethod
    def from_json(cls, request: RestoreRequest, kept: Mapping[str, Any]) -> Self:
        """The plan that `as_json` made."""
        return cls(**{"request": request, **kept, "tables": [TablePlan(**table) for table in kept["tables"]]})

    def as_metadata(self) -> dict[str, Any]:
        """Plain JSON values for the UI."""
        return {
            "plan_hash": self.plan_hash,
            "scope": str(self.request.scope),
            "as_of_sync_id": self.as_of_sync_id,
            "as_of": self.as_of,
            "tiers": self.request.tiers,
            "target": str(self.request.target),
            "on_conflict": self.request.on_conflict,
            "rows": self.rows,
            "rows_by_table": {table.table: table.rows for table in self.tables},
            "body_bytes": self.body_bytes,
            "bytes_billed": self.bytes_billed,
            "estimated_seconds": round(self.estimated_seconds, 1),
            "cluster": self.cluster or "the one that replication knows",
        }

    def as_markdown(self) -> str:
        """The plan as a table to review, with the hash that a real run has to name."""
        what = f"Restore **{self.request.scope}** as of **{self.as_of}** into **{self.request.target}**"
        how = f"tiers **{self.request.tiers}**, rows that are there and differ: **{self.request.on_conflict}**"
        lines = [f"{what}, {how}. Nothing is deleted.", "", "| table | rows | bytes of bodies |", "|---|---:|---:|"]
        lines += [f"| {t.table} | {t.rows:,} | {t.body_bytes:,} |" for t in self.tables]
        lines += ["", f"About {self.estimated_seconds:,.0f} s; BigQuery bills {self.bytes_billed:,} bytes."]
        lines += ["", f"Before the rows: {self.cluster}."] if self.cluster else []
        return "\n".join([*lines, "", f"To run exactly this: `plan_hash: {self.plan_hash}`"])
