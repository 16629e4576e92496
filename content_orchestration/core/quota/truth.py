"""What a tenant's rows say beside what its counters say, from one snapshot that blocks nobody. Nothing is written here.

What counts: bodies of rows that are not deleted (the current version, as `storage_size_bytes` has it, wherever the body
waits) and media that are not deleted. A body in `content_body_spill` counts once, through the row that names it.
BigQuery, old versions and the platform's own tables do not count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from content_orchestration.core.database import Database, Row
from content_orchestration.core.sql import statement

TENANT_COUNTERS = ("used_bytes", "reserved_bytes", "content_items", "media_files", "media_bytes")
BRAND_COUNTERS = ("used_bytes", "reserved_bytes")
MONTH_COUNTERS = ("used_items", "reserved_items")


@dataclass(frozen=True)
class Truth:
    """One tenant in a snapshot: the rows of `sql/quota/truth_*.sql`, each with truth and counter side by side."""

    tenant: Row
    brands: Sequence[Row]
    month: Row | None


def off(row: Row, counters: Sequence[str]) -> dict[str, int]:
    """By how much each counter of a row is short of the truth; a missing counter is short of all of it."""
    return {name: row[name] - (row[f"counted_{name}"] or 0) for name in counters}


def read_truth(database: Database, tenants: Sequence[str] | None = None) -> list[Truth]:
    """Rows and counters of these tenants, or of all, in one snapshot that blocks nobody; oldest tenant first.

    A settle that commits with the row it is for is in the snapshot with it, or not at all.
    """
    wanted = {"tenants": None if tenants is None else [UUID(tenant) for tenant in tenants]}
    with database.connection() as connection:
        connection.execute(statement("replication/repeatable_read"))
        rows = connection.execute(statement("quota/truth_tenants"), wanted).fetchall()
        brand_rows = connection.execute(statement("quota/truth_brands"), wanted).fetchall()
        month_rows = connection.execute(statement("quota/truth_months"), wanted).fetchall()
    brands: dict[str, list[Row]] = {}
    for brand in brand_rows:
        brands.setdefault(brand["tenant_id"], []).append(brand)
    months = {month["tenant_id"]: month for month in month_rows}
    return [Truth(row, brands.get(row["tenant_id"], ()), months.get(row["tenant_id"])) for row in rows]
