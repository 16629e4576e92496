"""Queries of a comparison in BigQuery: each estimated before it is sent, all together within one bound of bytes.

What is asked belongs to the comparisons.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from content_orchestration.core.errors import Permanent
from content_orchestration.core.replication.tables import Entity
from content_orchestration.core.sql import on_table
from content_orchestration.core.warehouse import Parameter, Warehouse

# BigQuery bills at least 10 MiB a query, and refuses one that may bill less.
_LEAST_BILLED = 10 * 1024**2

Parameters = Mapping[str, Parameter | Sequence[str]]


class TooManyBytes(Permanent):
    """What is to be asked would read more than it may; it was not asked."""


@dataclass(frozen=True)
class Bound:
    """How the error of a passed bound calls what was done, the setting, and the way out besides raising it."""

    doing: str = "comparing"
    setting: str = "INTEGRITY_MAX_BYTES"
    advice: str = "compare less at a time: one tenant, fewer partitions, a larger SCRUB_DAYS"


class MeteredWarehouse:
    """The history of one table. `estimated` is the sum of the dry runs so far, in bytes.

    `names` are put into a statement for `{name}`, beside the table: other tables and columns, all of them constants.
    """

    def __init__(
        self,
        warehouse: Warehouse,
        entity: Entity,
        max_bytes: int,
        *,
        names: Mapping[str, str] | None = None,
        bound: Bound = Bound(),
    ) -> None:
        self._warehouse = warehouse
        self._table = warehouse.qualified(entity.table.name)
        self._max_bytes = max_bytes
        self._names = names or {}
        self._bound = bound
        self.estimated = 0

    def reserve(self, name: str, parameters: Sequence[Parameters]) -> None:
        """Estimate the statement `name` with each of the parameters. Raises `TooManyBytes` past the bound."""
        sql = self._statement(name)
        self.estimated += sum(self._warehouse.estimate(sql, each) for each in parameters)
        if self.estimated > self._max_bytes:
            told = self._bound
            raise TooManyBytes(
                f"{told.doing} {self._table} would have BigQuery read {self.estimated:,} bytes, and {told.setting} "
                f"allows {self._max_bytes:,}: nothing more was read. Raise {told.setting}, or {told.advice}"
            )

    def reserved(self, name: str, parameters: Parameters) -> Iterator[dict[str, Any]]:
        """Rows of a statement that `reserve` has let pass."""
        sql = self._statement(name)
        yield from self._warehouse.query(sql, parameters, maximum_bytes_billed=max(self._max_bytes, _LEAST_BILLED))

    def query(self, name: str, parameters: Parameters) -> Iterator[dict[str, Any]]:
        """Rows of the statement `name`, estimated first. Raises `Permanent` where the bound is passed."""
        self.reserve(name, [parameters])
        yield from self.reserved(name, parameters)

    def _statement(self, name: str) -> str:
        sql = on_table(f"bigquery/{name}", self._table)
        for each, value in self._names.items():
            sql = sql.replace(f"{{{each}}}", value)
        return sql
