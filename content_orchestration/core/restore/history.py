"""The history in BigQuery as a restore reads it: a table with the state as of one sync, in parts, and chunks of parts.

The state is computed once and kept until the restore is done, so that a restart reads what the first run read. Checking
what is read belongs to `check.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from content_orchestration.core.errors import Permanent
from content_orchestration.core.replication.tables import CONTENT_MEDIA, Entity
from content_orchestration.core.restore.request import RestoreRequest
from content_orchestration.core.sql import on_table
from content_orchestration.core.warehouse import Warehouse

if TYPE_CHECKING:
    import pyarrow as pa

_ROW_COLUMNS = ("entity_id", "tenant_id", "sync_id", "row_json", "row_sha256")


@dataclass(frozen=True)
class Counts:
    """How much a state holds. `state_sum` differs when any of its rows comes from another sync."""

    rows: int
    body_bytes: int
    state_sum: int


@dataclass(frozen=True)
class Chunk:
    """Consecutive parts that are read, checked and committed together. `number` is what progress is recorded under."""

    number: int
    first_part: int
    last_part: int
    rows: int
    bytes: int


class History:
    """The states of one restore. `name` tells its tables from those of other restores."""

    def __init__(
        self, warehouse: Warehouse, request: RestoreRequest, sync_id: int, name: str, *, max_bytes: int
    ) -> None:
        self._warehouse = warehouse
        self._request = request
        self._sync_id = sync_id
        self._name = name
        self._max_bytes = max_bytes
        self._parts: dict[str, list[dict[str, Any]]] = {}

    def counts(self, entity: Entity) -> Counts:
        """What the state will hold; reads narrow columns only."""
        size = "0" if entity is CONTENT_MEDIA else "storage_size_bytes"
        query = on_table("bigquery/restore_counts", self._warehouse.qualified(entity.table.name))
        found = next(
            iter(
                self._warehouse.query(
                    query.replace("{size}", size), self._values(), maximum_bytes_billed=self._max_bytes
                )
            )
        )
        return Counts(int(found["row_count"]), int(found["body_bytes"]), int(found["state_sum"]))

    def bytes_billed(self, entity: Entity) -> int:
        """Bytes that computing the state will scan, by a dry run."""
        return self._warehouse.estimate(self._state_query(entity), self._values())

    def prepare(self, entity: Entity, rows: int) -> None:
        """Compute the state, unless a run before this one did. Raises `Permanent` when it is not what was planned."""
        list(self._warehouse.query(self._state_query(entity), self._values(), maximum_bytes_billed=self._max_bytes))
        self._parts[entity.name] = list(
            self._warehouse.query(on_table("bigquery/restore_parts", self._qualified(entity)))
        )
        found = sum(int(part["row_count"]) for part in self._parts[entity.name])
        if found != rows:
            raise Permanent(
                f"the history holds {found} rows for {entity.table.name} as of sync {self._sync_id}, and the plan said "
                f"{rows}: it changed since the plan was made. Nothing was written; make a new plan and review it"
            )

    def chunks(self, entity: Entity, chunk_bytes: int) -> list[Chunk]:
        """The state in pieces of about `chunk_bytes`, the same for the same state. `prepare` comes before."""
        chunks: list[Chunk] = []
        group: list[dict[str, Any]] = []
        size = 0
        for part in self._parts[entity.name]:
            if group and size + int(part["bytes"]) > chunk_bytes:
                chunks.append(_chunk(len(chunks), group))
                group, size = [], 0
            group.append(part)
            size += int(part["bytes"])
        if group:
            chunks.append(_chunk(len(chunks), group))
        return chunks

    def read(self, entity: Entity, chunk: Chunk) -> "pa.Table":
        """The rows of a chunk, by tenant and id. Raises `Permanent` when they are not as many as there were."""
        columns = [*_ROW_COLUMNS, "body"] if self._bodies(entity) else list(_ROW_COLUMNS)
        restriction = f"part >= {chunk.first_part} AND part <= {chunk.last_part}"
        table = self._warehouse.read_arrow(self._table(entity), columns, restriction)
        if table.num_rows != chunk.rows:
            raise Permanent(
                f"parts {chunk.first_part} to {chunk.last_part} of {self._table(entity)} came with {table.num_rows} "
                f"rows and not {chunk.rows}: somebody wrote into it. Drop that table and run this again"
            )
        # Half of the indexes begin with the tenant: rows of one go into the same pages.
        return table.sort_by([("tenant_id", "ascending"), ("entity_id", "ascending")])

    def ids(self, entity: Entity, chunk: Chunk) -> list[str]:
        """The ids of a chunk."""
        restriction = f"part >= {chunk.first_part} AND part <= {chunk.last_part}"
        found = self._warehouse.read_arrow(self._table(entity), ["entity_id"], restriction)
        ids: list[str] = found.column("entity_id").to_pylist()
        return ids

    def drop(self, entities: Sequence[Entity]) -> None:
        """Remove the states."""
        for entity in entities:
            list(self._warehouse.query(on_table("bigquery/restore_drop", self._qualified(entity))))

    def _bodies(self, entity: Entity) -> bool:
        return entity.has_body and self._request.bodies_wanted

    def _state_query(self, entity: Entity) -> str:
        query = on_table("bigquery/restore_state", self._warehouse.qualified(entity.table.name))
        body = "body" if self._bodies(entity) else "CAST(NULL AS STRING)"
        return query.replace("{state}", self._qualified(entity)).replace("{body}", body)

    def _values(self) -> dict[str, Any]:
        scope = self._request.scope
        return {"sync_id": self._sync_id, "scope": scope.kind, "ids": list(scope.ids)}

    def _table(self, entity: Entity) -> str:
        return f"restore_{self._name}_{entity.name}"

    def _qualified(self, entity: Entity) -> str:
        return self._warehouse.qualified(self._table(entity))


def _chunk(number: int, parts: Sequence[dict[str, Any]]) -> Chunk:
    return Chunk(
        number, int(parts[0]["part"]), int(parts[-1]["part"]),
        sum(int(part["row_count"]) for part in parts), sum(int(part["bytes"]) for part in parts),
    )  # fmt: skip
