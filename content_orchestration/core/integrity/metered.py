"""Queries of a comparison in BigQuery: each estimated before it is sent, all together within one bound of bytes.

What is asked belongs to the comparisons.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from content_orchestration.core.errors import Permanent
from content_orchestration.core.replication.tables import Entity
from content_orchestration.core.sql import on_table
from content_orchestration.core.warehouse import Parameter, Warehouse

# BigQuery bills at least 10 MiB a query, and refuses one that may bill less.
_LEAST_BILLED = 10 * 1024**2

Parameters = Mapping[str, Parameter | Sequence[str]]


class MeteredWarehouse:
    """The history of one table. `estimated` is the sum of the dry runs so far, in bytes."""

    def __init__(self, warehouse: Warehouse, entity: Entity, max_bytes: int) -> None:
        self._warehouse = warehouse
        self._table = warehouse.qualified(entity.table.name)
        self._max_bytes = max_bytes
        self.estimated = 0

    def reserve(self, name: str, parameters: Sequence[Parameters]) -> None:
        """Estimate the statement `name` with each of the parameters. Raises `Permanent` where the bound is passed."""
        sql = on_table(f"bigquery/{name}", self._table)
        self.estimated += sum(self._warehouse.estimate(sql, each) for each in parameters)
        if self.estimated > self._max_bytes:
            raise Permanent(
                f"comparing {self._table} would have BigQuery read {self.estimated:,} bytes, and INTEGRITY_MAX_BYTES "
                f"allows {self._max_bytes:,}: nothing more was read. Raise INTEGRITY_MAX_BYTES, or compare less at a "
                "time: one tenant, fewer partitions, a larger SCRUB_DAYS"
            )

    def reserved(self, name: str, parameters: Parameters) -> Iterator[dict[str, Any]]:
        """Rows of a statement that `reserve` has let pass."""
        sql = on_table(f"bigquery/{name}", self._table)
        yield from self._warehouse.query(sql, parameters, maximum_bytes_billed=max(self._max_bytes, _LEAST_BILLED))

    def query(self, name: str, parameters: Parameters) -> Iterator[dict[str, Any]]:
        """Rows of the statement `name`, estimated first. Raises `Permanent` where the bound is passed."""
        self.reserve(name, [parameters])
        yield from self.reserved(name, parameters)
