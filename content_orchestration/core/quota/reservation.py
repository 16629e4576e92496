"""A reservation as callers hold it, and the rules that its amounts must obey before the database sees them."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from psycopg.types.numeric import Int8

from content_orchestration.core.quota.decision import InvalidRequest, QuotaDecision

State = Literal["reserved", "settled", "released", "expired"]

# Reservations with this reason count their items against the plan's items a month.
GENERATION = "generation"
DEFAULT_TTL = timedelta(minutes=15)
# Above any plan and any real request, and low enough that thousands of them add up in a bigint.
MOST_BYTES = 2**50
MOST_ITEMS = 10**9
LONGEST_TTL = timedelta(days=30)
_LONGEST_TEXT = 200


@dataclass(frozen=True)
class Amounts:
    """Bytes of bodies, content items, bytes of media on top, and media files. Whole numbers, none below 0."""

    bytes: int = 0
    items: int = 0
    media_bytes: int = 0
    media_files: int = 0

    def __post_init__(self) -> None:
        for name, most in (
            ("bytes", MOST_BYTES),
            ("items", MOST_ITEMS),
            ("media_bytes", MOST_BYTES),
            ("media_files", MOST_ITEMS),
        ):
            value = getattr(self, name)
            # A bool is an int to Python, and a NaN or a half byte a float: neither is an amount.
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
                raise InvalidRequest(
                    f"{name} is {_shown(value)}: it must be a whole number from 0 to {most}. Nothing was written"
                )

    def require_any(self) -> None:
        """Raise `InvalidRequest` where nothing is asked for: such a reservation would only take up the tenant's row."""
        if not (self.bytes or self.items or self.media_bytes):
            raise InvalidRequest(
                "bytes, items and media_bytes are all 0: there is nothing to reserve. Nothing was written"
            )

    def as_values(self) -> dict[str, Any]:
        """For a statement. Always bigint: psycopg sends the narrowest integer, and would prepare one plan a width."""
        return {
            "bytes": Int8(self.bytes),
            "items": Int8(self.items),
            "media_bytes": Int8(self.media_bytes),
            "media_files": Int8(self.media_files),
        }


@dataclass(frozen=True)
class Reservation:
    """Room that was set aside. `expires_at` is by the database's clock; `replayed` says that the key was known already.

    `decision` is how the tenant's limit stood after it.
    """

    id: UUID
    tenant_id: UUID
    brand_id: UUID | None
    bytes: int
    items: int
    media_bytes: int
    reason: str
    key: str | None
    state: State
    expires_at: datetime
    replayed: bool
    decision: QuotaDecision


@dataclass(frozen=True)
class Settlement:
    """What settling did. `replayed` says that it had been settled so before; `decision` is None then."""

    reservation_id: UUID
    state: State
    replayed: bool
    decision: QuotaDecision | None


def identifier(name: str, value: object) -> UUID:
    """`value` as a UUID. Raises `InvalidRequest` where it is none."""
    if isinstance(value, UUID):
        return value
    try:
        return UUID(str(value))
    except ValueError:
        raise InvalidRequest(f"{name} is {_shown(value)}: it must be a UUID. Nothing was written") from None


def label(name: str, value: object) -> str:
    """`value` as a text of 1 to 200 characters that PostgreSQL can store. Raises `InvalidRequest` where it is none."""
    if isinstance(value, str) and 1 <= len(value) <= _LONGEST_TEXT and "\0" not in value:
        try:
            value.encode()
        except UnicodeEncodeError:
            pass
        else:
            return value
    raise InvalidRequest(
        f"{name} is {_shown(value)}: it must be a text of 1 to {_LONGEST_TEXT} characters without NUL and lone "
        "surrogates. Nothing was written"
    )


def lifetime(value: object) -> timedelta:
    """`value` as how long a reservation holds. Raises `InvalidRequest` where it is no time from 0 to 30 days."""
    if isinstance(value, timedelta) and timedelta(0) < value <= LONGEST_TTL:
        return value
    raise InvalidRequest(
        f"ttl is {_shown(value)}: it must be a timedelta above 0 and of at most {LONGEST_TTL.days} days. "
        "Nothing was written"
    )


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"
