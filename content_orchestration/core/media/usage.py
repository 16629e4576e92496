"""Where files are used, how often, and what each brand stores by category. Limits are the ledger's, never kept here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from content_orchestration.core.database import Database
from content_orchestration.core.errors import Permanent
from content_orchestration.core.sql import statement

Action = Literal["attached", "detached", "downloaded", "published"]
ACTIONS: tuple[Action, ...] = ("attached", "detached", "downloaded", "published")
CATEGORIES = ("images", "videos", "graphics", "documents")
_MOST_IDS = 1000


@dataclass(frozen=True)
class AssetUsage:
    """Where a file is used at this moment, and how often each thing happened to it."""

    used_in: tuple[str, ...]
    events: Mapping[str, int]

    @property
    def usage_count(self) -> int:
        """In how many places it is used."""
        return len(self.used_in)


@dataclass(frozen=True)
class CategoryUsage:
    """Files of one category in a brand: each stored file once. Percent is of the brand's limit, None without one."""

    files: int
    bytes: int
    percent: float | None


@dataclass(frozen=True)
class BrandUsage:
    """What a brand stores. `used_bytes` is its counter, bodies included; the status goes by that and the limit.

    `brand_id` is None for files of no brand; their limit is the tenant's.
    """

    brand_id: UUID | None
    media_files: int
    media_bytes: int
    used_bytes: int
    limit_bytes: int | None
    percent: float | None
    status: Literal["ok", "warning", "critical"]
    categories: Mapping[str, CategoryUsage]

    def as_metadata(self) -> dict[str, Any]:
        """For the asset's metadata."""
        return {
            "brand_id": str(self.brand_id or "none"),
            "media_files": self.media_files,
            "media_bytes": self.media_bytes,
            "used_bytes": self.used_bytes,
            "limit_bytes": "unlimited" if self.limit_bytes is None else self.limit_bytes,
            "percent": "no limit" if self.percent is None else round(self.percent, 1),
            "status": self.status,
            **{name: {"files": c.files, "bytes": c.bytes} for name, c in self.categories.items()},
        }


def log_usage(
    database: Database, tenant_id: UUID, asset_ids: Sequence[UUID], used_in: str, action: Action, actor: str
) -> int:
    """Note that something happened to files in a place, such as `content:<id>`; how many are the tenant's and live.

    Raises `Permanent` for an unknown action, an empty or overlong place or actor, and more than 1,000 files.
    """
    if action not in ACTIONS:
        raise Permanent(f"action is {action!r}: use one of {', '.join(ACTIONS)}")
    for name, text in (("used_in", used_in), ("actor", actor)):
        if not 1 <= len(text) <= 200 or "\0" in text:
            raise Permanent(f"{name} has {len(text)} characters: give 1 to 200, without NUL")
    values = {
        "tenant_id": tenant_id, "ids": _checked(asset_ids), "used_in": used_in, "action": action, "actor": actor,
    }  # fmt: skip
    with database.connection() as connection:
        return connection.execute(statement("media/usage_log"), values).rowcount


def asset_usage(database: Database, tenant_id: UUID, asset_ids: Sequence[UUID]) -> dict[UUID, AssetUsage]:
    """Where files are used and what happened to them; one that is used nowhere has no places. At most 1,000."""
    values = {"tenant_id": tenant_id, "ids": _checked(asset_ids)}
    with database.connection() as connection:
        places = connection.execute(statement("media/usage_of"), values).fetchall()
        events = connection.execute(statement("media/usage_events"), values).fetchall()
    used_in = {row["asset_id"]: tuple(row["used_in"]) for row in places}
    happened: dict[UUID, dict[str, int]] = {}
    for row in events:
        happened.setdefault(row["asset_id"], {})[row["action"]] = row["events"]
    return {one: AssetUsage(used_in.get(one, ()), happened.get(one, {})) for one in asset_ids}


def brand_usage(database: Database, tenant_id: UUID) -> list[BrandUsage]:
    """What each brand of a tenant stores by category; files of no brand come last."""
    with database.connection() as connection:
        rows = connection.execute(statement("media/usage_by_brand"), {"tenant_id": tenant_id}).fetchall()
    by_brand: dict[UUID | None, list[dict[str, Any]]] = {}
    for row in rows:
        by_brand.setdefault(row["brand_id"], []).append(row)
    return [_brand(brand_id, parts) for brand_id, parts in by_brand.items()]


def _brand(brand_id: UUID | None, rows: Sequence[dict[str, Any]]) -> BrandUsage:
    first = rows[0]
    limit = first["limit_bytes"]
    by_category = {row["category"]: row for row in rows if row["category"]}
    media_bytes = sum(row["bytes"] for row in rows)
    # Without a counter (no reservation yet) what is there is the files.
    used = media_bytes if first["used_bytes"] is None else first["used_bytes"]
    percent = _percent(used, limit)
    return BrandUsage(
        brand_id,
        sum(row["files"] for row in rows),
        media_bytes,
        used,
        limit,
        percent,
        _status(percent, first["warning_percent"], first["critical_percent"]),
        {
            name: CategoryUsage(
                by_category[name]["files"] if name in by_category else 0,
                size := by_category[name]["bytes"] if name in by_category else 0,
                _percent(size, limit),
            )
            for name in CATEGORIES
        },
    )


def _percent(used: int, limit: int | None) -> float | None:
    if limit is None:
        return None
    return 100 * used / limit if limit else 100.0


def _status(percent: float | None, warning: int, critical: int) -> Literal["ok", "warning", "critical"]:
    if percent is None or percent <= warning:
        return "ok"
    return "critical" if percent > critical else "warning"


def _checked(asset_ids: Sequence[UUID]) -> list[UUID]:
    if len(asset_ids) > _MOST_IDS:
        raise Permanent(f"{len(asset_ids)} files are more than {_MOST_IDS}: ask in portions")
    return list(asset_ids)
