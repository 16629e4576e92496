"""What somebody asks a restore for, checked on the way in. How it is carried out does not belong here."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Self, get_args
from uuid import UUID

from content_orchestration.core.errors import Permanent

Tiers = Literal["postgres", "zerodb", "both"]
OnConflict = Literal["keep_newer", "keep_existing", "overwrite"]
Kind = Literal["everything", "tenants", "content_ids"]

MOST_IDS = 10_000
"""Tenants or content ids in one request: BigQuery takes them as one bound array."""
_SCHEMA = re.compile(r"[a-z][a-z0-9_]{0,40}")
_PREFIX = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,30}")
_RESERVED = re.compile(r"public|information_schema|pg_.*")


@dataclass(frozen=True)
class Scope:
    """Whose content is restored. Content ids bring the item, its versions and the media that name it."""

    kind: Kind
    ids: tuple[str, ...] = ()

    @classmethod
    def everything(cls) -> Self:
        """Every tenant."""
        return cls("everything")

    @classmethod
    def tenants(cls, ids: Iterable[str]) -> Self:
        """All content of these tenants."""
        return cls("tenants", tuple(ids))

    @classmethod
    def content_ids(cls, ids: Iterable[str]) -> Self:
        """These items."""
        return cls("content_ids", tuple(ids))

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise Permanent(f"scope is {self.kind!r}: it must be one of {', '.join(get_args(Kind))}")
        if self.kind == "everything":
            if self.ids:
                raise Permanent("scope is everything but names ids: leave them out, or make the scope tenants")
            return
        if not self.ids:
            raise Permanent(f"scope is {self.kind} but names none: list their ids, or make the scope everything")
        if len(self.ids) > MOST_IDS:
            raise Permanent(
                f"scope names {len(self.ids)} {self.kind}, and one restore takes at most {MOST_IDS}: restore in "
                "several runs, or make the scope tenants or everything"
            )
        # One spelling and one order, so that the same set is the same plan.
        object.__setattr__(self, "ids", tuple(sorted({_uuid(self.kind, each) for each in self.ids})))

    def __str__(self) -> str:
        return self.kind if self.kind == "everything" else f"{len(self.ids)} {self.kind}"


@dataclass(frozen=True)
class Target:
    """Where the content goes: the live tables and collections, or a scratch schema and collections with a prefix."""

    schema: str | None = None
    collection_prefix: str = ""

    @classmethod
    def scratch(cls, schema: str, collection_prefix: str) -> Self:
        """Tables of the same shape in a schema of their own, without replication; collections with a prefix."""
        if not _SCHEMA.fullmatch(schema) or _RESERVED.fullmatch(schema):
            raise Permanent(
                f"target.schema is {schema!r}: a scratch schema has lower-case letters, digits and underscores, begins "
                "with a letter, has at most 41 characters, and is not public or one of PostgreSQL's own"
            )
        if not _PREFIX.fullmatch(collection_prefix):
            raise Permanent(
                f"target.collection_prefix is {collection_prefix!r}: it needs at least one letter, digits and "
                "underscores behind it, at most 31 characters, so that no live collection is written"
            )
        return cls(schema, collection_prefix)

    @property
    def live(self) -> bool:
        """Whether this is the live content."""
        return self.schema is None

    def collection(self, name: str) -> str:
        """The collection that stands for `name` here."""
        return f"{self.collection_prefix}{name}"

    def __str__(self) -> str:
        return "live" if self.live else f"scratch schema {self.schema}, collections {self.collection_prefix}*"


LIVE = Target()


@dataclass(frozen=True)
class RestoreRequest:
    """One restore. Raises `Permanent` for what cannot be meant.

    as_of: a moment (with a time zone), a sync id, or None for the last closed sync; see `moment.py` for the promise.
    on_conflict: what happens to a row that is there already and differs. keep_newer overwrites it where the history has
    a greater (version, updated_at); keep_existing never does; overwrite always does. Nothing is ever deleted.
    max_rows: the plan is refused when more rows than this would be read.
    """

    scope: Scope = field(default_factory=Scope.everything)
    as_of: datetime | int | None = None
    tiers: Tiers = "both"
    target: Target = LIVE
    on_conflict: OnConflict = "keep_newer"
    max_rows: int | None = None

    def __post_init__(self) -> None:
        if self.tiers not in get_args(Tiers):
            raise Permanent(f"tiers is {self.tiers!r}: it must be one of {', '.join(get_args(Tiers))}")
        if self.on_conflict not in get_args(OnConflict):
            raise Permanent(f"on_conflict is {self.on_conflict!r}: it must be one of {', '.join(get_args(OnConflict))}")
        if isinstance(self.as_of, datetime) and self.as_of.tzinfo is None:
            raise Permanent(
                f"as_of is {self.as_of.isoformat()} without a time zone: a moment needs one, for example "
                f"{self.as_of.isoformat()}+00:00"
            )
        if isinstance(self.as_of, int) and (isinstance(self.as_of, bool) or self.as_of < 1):
            raise Permanent(f"as_of is {self.as_of}: a sync id is a whole number above 0 (content_sync_log lists them)")
        if self.max_rows is not None and self.max_rows < 1:
            raise Permanent(f"max_rows is {self.max_rows}: it must be at least 1, or left out for no limit")

    @property
    def rows_wanted(self) -> bool:
        """Whether PostgreSQL is written."""
        return self.tiers != "zerodb"

    @property
    def bodies_wanted(self) -> bool:
        """Whether ZeroDB is written."""
        return self.tiers != "postgres"

    def as_json(self) -> dict[str, Any]:
        """Every field as plain JSON: what the plan hash covers and what `restore_runs` keeps."""
        as_of = self.as_of.isoformat() if isinstance(self.as_of, datetime) else self.as_of
        return {
            "scope": {"kind": self.scope.kind, "ids": list(self.scope.ids)},
            "as_of": as_of,
            "tiers": self.tiers,
            "target": {"schema": self.target.schema, "collection_prefix": self.target.collection_prefix},
            "on_conflict": self.on_conflict,
            "max_rows": self.max_rows,
        }


def _uuid(kind: str, text: str) -> str:
    try:
        return str(UUID(text))
    except (ValueError, AttributeError, TypeError):
        raise Permanent(f"scope.{kind} has {text!r}, which is no UUID: write ids as they stand in PostgreSQL") from None
