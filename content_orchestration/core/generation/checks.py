"""The rules for what is submitted, checked before the database sees it. Writing is in `submit.py`."""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from hashlib import sha256
from typing import Any
from uuid import UUID

from content_orchestration.core.generation.errors import InvalidBatch
from content_orchestration.core.generation.model import MOST_ITEMS_A_BATCH, NewBatch, NewItem

_SMALLEST, _LARGEST = -32768, 32767
_LONGEST_TEXT = 200
_MOST_REQUEST_BYTES = 1024 * 1024
_MOST_USD = Decimal(99_999_999)
# Made once: json.dumps with options makes an encoder a call, which is half of the time of a large submission.
_JSON = json.JSONEncoder(sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_CONTENT_TYPES = ("article", "post", "email", "image", "video", "document")


def checked_batch(batch: NewBatch) -> dict[str, Any]:
    """The batch as values for its statements. Raises `InvalidBatch`."""
    if batch.content_type not in _CONTENT_TYPES:
        raise InvalidBatch(
            f"content_type is {_shown(batch.content_type)}: it must be one of {', '.join(_CONTENT_TYPES)}. "
            "Nothing was written"
        )
    estimated = batch.estimated_bytes_per_item
    if isinstance(estimated, bool) or not isinstance(estimated, int) or not 0 <= estimated <= 2**30:
        raise InvalidBatch(
            f"estimated_bytes_per_item is {_shown(estimated)}: it must be a whole number from 0 to 2^30 (bytes). "
            "Nothing was written"
        )
    return {
        "tenant_id": _uuid("tenant_id", batch.tenant_id),
        "brand_id": None if batch.brand_id is None else _uuid("brand_id", batch.brand_id),
        "user_id": None if batch.user_id is None else _uuid("user_id", batch.user_id),
        "job_type": text("job_type", batch.job_type),
        "content_type": batch.content_type,
        "params": document("params", batch.params),
        "priority": _priority("priority", batch.priority),
        "estimated": estimated,
        "max_cost_usd": None if batch.max_cost_usd is None else dollars("max_cost_usd", batch.max_cost_usd),
    }


def checked_items(items: Sequence[NewItem]) -> list[dict[str, Any]]:
    """The items as values. Raises `InvalidBatch`, which names the first item that is wrong."""
    if not 1 <= len(items) <= MOST_ITEMS_A_BATCH:
        raise InvalidBatch(
            f"items are {len(items):,}: a batch has 1 to {MOST_ITEMS_A_BATCH:,}; submit more of them as several "
            "batches. Nothing was written"
        )
    checked = [
        {
            "id": None if item.id is None else text(f"items[{number}].id", item.id),
            "topic_id": None if item.topic_id is None else _uuid(f"items[{number}].topic_id", item.topic_id),
            "article_id": None if item.article_id is None else _uuid(f"items[{number}].article_id", item.article_id),
            "request": document(f"items[{number}].request", item.request),
            "priority": _priority(f"items[{number}].priority", item.priority),
        }
        for number, item in enumerate(items)
    ]
    given = [item["id"] for item in checked if item["id"] is not None]
    if len(set(given)) != len(given):
        twice = next(one for one in given if given.count(one) > 1)
        raise InvalidBatch(f"items have the id {twice!r} twice: give each its own, or none. Nothing was written")
    return checked


def fingerprint(batch: Mapping[str, Any], items: Sequence[Mapping[str, Any]]) -> str:
    """SHA-256 of everything that a submission says: what one idempotency key stands for."""
    digest = sha256()
    for part in (batch, *items):
        # repr tells None from "None" and where a value ends.
        digest.update(repr([str(value) if value is not None else None for _, value in sorted(part.items())]).encode())
    return digest.hexdigest()


def document(name: str, value: object) -> str:
    """A mapping as JSON with its keys in order. Raises `InvalidBatch` for what PostgreSQL's jsonb would not take."""
    if not isinstance(value, Mapping):
        raise InvalidBatch(f"{name} is {_shown(value)}: it must be a mapping. Nothing was written")
    try:
        found = _JSON.encode(value if isinstance(value, dict) else dict(value))
        size = len(found.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidBatch(f"{name} is no JSON ({error}). Nothing was written") from None
    # json writes a NUL, and nothing else, as this escape; a backslash before it would be doubled.
    if "\\u0000" in found and "\\u0000" in found.replace("\\\\", ""):
        raise InvalidBatch(f"{name} has a NUL character: PostgreSQL cannot store it. Nothing was written")
    if size > _MOST_REQUEST_BYTES:
        raise InvalidBatch(f"{name} has {size:,} bytes, more than {_MOST_REQUEST_BYTES:,}. Nothing was written")
    return found


def text(name: str, value: object) -> str:
    """A text of 1 to 200 characters that PostgreSQL can store. Raises `InvalidBatch`."""
    if isinstance(value, str) and 1 <= len(value) <= _LONGEST_TEXT and "\0" not in value:
        try:
            value.encode()
        except UnicodeEncodeError:
            pass
        else:
            return value
    raise InvalidBatch(
        f"{name} is {_shown(value)}: it must be a text of 1 to {_LONGEST_TEXT} characters without NUL and lone "
        "surrogates. Nothing was written"
    )


def dollars(name: str, value: object) -> Decimal:
    """An amount of US dollars to six places. Raises `InvalidBatch`."""
    try:
        amount = Decimal(str(value)) if not isinstance(value, bool) else Decimal("NaN")
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or not 0 <= amount <= _MOST_USD:
        raise InvalidBatch(f"{name} is {_shown(value)}: it must be US dollars from 0 to {_MOST_USD}")
    return amount.quantize(Decimal("0.000001"))


def storable(words: str, most: int = 2000) -> str:
    """What a worker says, as PostgreSQL can store it: no NUL, no lone surrogates, at most `most` characters."""
    return words[:most].replace("\0", "").encode(errors="replace").decode()


def _priority(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not _SMALLEST <= value <= _LARGEST:
        raise InvalidBatch(
            f"{name} is {_shown(value)}: it must be a whole number from {_SMALLEST} to {_LARGEST}. Nothing was written"
        )
    return value


def _uuid(name: str, value: object) -> UUID:
    try:
        return value if isinstance(value, UUID) else UUID(str(value))
    except ValueError:
        raise InvalidBatch(f"{name} is {_shown(value)}: it must be a UUID. Nothing was written") from None


def _shown(value: object) -> str:
    found = repr(value)
    return found if len(found) <= 80 else f"{found[:80]}…"
