"""What a tenant may spend in a month (UTC). Reserved at submit, spent when the books of a batch are closed."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from psycopg import Connection

from content_orchestration.core.database import Database, Row
from content_orchestration.core.generation.errors import BudgetExceeded, InvalidBatch
from content_orchestration.core.quota.at_once import at_once, one
from content_orchestration.core.sql import statement


@dataclass(frozen=True)
class Budget:
    """A month in US dollars. `limit_usd` is None where spending is only counted."""

    tenant_id: UUID
    month: date
    limit_usd: Decimal | None
    reserved_usd: Decimal
    spent_usd: Decimal

    def as_metadata(self) -> dict[str, Any]:
        """For an asset's metadata."""
        return {
            "month": f"{self.month:%Y-%m}",
            "limit_usd": "unlimited" if self.limit_usd is None else float(self.limit_usd),
            "reserved_usd": float(self.reserved_usd),
            "spent_usd": float(self.spent_usd),
        }


def read_budget(database: Database, tenant: UUID) -> Budget:
    """This month as it stands; a tenant without batches has spent nothing."""
    with database.connection() as connection:
        return _read(connection, tenant)


def set_limit(database: Database, tenant: UUID, limit_usd: Decimal | None) -> None:
    """What a tenant may spend a month, from this one on; None for no limit. What is reserved and spent stays."""
    with at_once(database) as connection:
        connection.execute(statement("generation/set_budget"), {"tenant_id": tenant, "limit_usd": limit_usd})


def reserve(connection: Connection[Row], tenant: UUID, max_cost_usd: Decimal | None) -> tuple[date, Decimal]:
    """Set aside what a batch may cost: the month, and what is held there (nothing without a limit).

    Raises `BudgetExceeded`, and `InvalidBatch` where the tenant has a limit and the batch none.
    """
    values = {"tenant_id": tenant, "usd": max_cost_usd}
    connection.execute(statement("generation/open_budget"), values)
    row = connection.execute(statement("generation/reserve_budget"), values).fetchone()
    if row is not None:
        return row["month"], row["held_usd"]
    found = _read(connection, tenant)
    if max_cost_usd is None:
        raise InvalidBatch(
            f"max_cost_usd is missing: tenant {tenant} may spend {found.limit_usd} USD a month, so a batch must say "
            "what it may cost at most. Nothing was written"
        )
    raise BudgetExceeded(
        f"tenant {tenant}: {found.spent_usd} USD are spent and {found.reserved_usd} reserved of {found.limit_usd} in "
        f"{found.month:%Y-%m}, and {max_cost_usd} more do not fit: nothing was written; lower max_cost_usd, wait for "
        "the batches at work, or raise the limit in generation_budgets"
    )


def _read(connection: Connection[Row], tenant: UUID) -> Budget:
    return Budget(tenant_id=tenant, **one(connection, "generation/budget", {"tenant_id": tenant}))
