"""Whether every body that PostgreSQL names is in ZeroDB with the hash and the size that its rows say.

The share of an hour is in `scrub.py`; documents that no row names are in `documents.py`.
"""

import hashlib
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple, Self
from uuid import UUID

from content_orchestration.core.database import Database, Row
from content_orchestration.core.documents import Document, DocumentStore
from content_orchestration.core.errors import Permanent
from content_orchestration.core.integrity.fields import differing, shown
from content_orchestration.core.integrity.findings import Comparison, Difference, Kind
from content_orchestration.core.integrity.looking import Clock, as_uuid, looking, stream, tenant_uuid
from content_orchestration.core.integrity.pairs import Named, Pairing, Pairs
from content_orchestration.core.sql import statement

COLLECTION = "content_items"
LEAST_ROWS = 3
"""Rows that a page needs at least: an item and a version may stand at one position, and the last one is left out."""
NO_ROW = "no row has this id"

_PAGE = 2000
_IDS = 500


class Position(NamedTuple):
    """Where a walk over all bodies stands: by content id, then version. All that stands at it has been read."""

    content_id: UUID
    version: int

    def __str__(self) -> str:
        return f"{self.content_id}/{self.version}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The position that was written down. Raises `Permanent` where it is none."""
        content_id, _, version = text.partition("/")
        try:
            return cls(UUID(content_id), int(version))
        except ValueError:
            raise Permanent(
                f"body_scrub_progress.position is {text!r}, which is no <content_id>/<version>: "
                "set it to NULL, and the scrub begins its cycle anew"
            ) from None


START = Position(UUID(int=0), 0)


@dataclass(frozen=True)
class Page:
    """Rows from beyond a position, all that stand at each of theirs, and whether none is behind them."""

    rows: Sequence[Row]
    reached: Position
    last: bool


def read_page(database: Database, after: Position, limit: int = _PAGE) -> Page:
    """The rows that follow `after`: fewer than `limit`, since those at its end may not all be in it."""
    values = {"content_id": after.content_id, "version": after.version, "limit": limit}
    with database.connection() as connection:
        rows = connection.execute(statement("integrity/bodies_page"), values).fetchall()
    if len(rows) < limit:
        return Page(rows, _position(rows[-1]) if rows else after, True)
    end = _position(rows[-1])
    whole = [row for row in rows if _position(row) != end]
    return Page(whole, _position(whole[-1]), False)


def scan_bodies(
    database: Database, store: DocumentStore, *, tenant_id: str | None = None, clock: Clock = time.monotonic
) -> Comparison:
    """Read every body of a tenant, or of all, and compare it with its rows. Raises `Permanent` for a malformed id.

    Counted are documents. A tier that cannot be read makes the comparison unknown.
    """
    tenant = tenant_uuid(tenant_id)
    with looking("bodies", clock) as comparison:
        pairs = Pairs(database, store, BODIES, comparison)
        with closing(_rows(database, tenant)) as rows:
            pairs.compare(named_bodies(rows))
        pairs.settle()
    return comparison


def check_ids(
    database: Database, store: DocumentStore, ids: Sequence[str], *, clock: Clock = time.monotonic
) -> Comparison:
    """Compare every body of these content ids, all versions, with its rows. Raises `Permanent` for a malformed id.

    An id of which PostgreSQL has no row counts as attempted and skipped.
    """
    wanted = list(dict.fromkeys(as_uuid(each, "ids") for each in ids))
    with looking("bodies", clock) as comparison:
        pairs = Pairs(database, store, BODIES, comparison)
        for at in range(0, len(wanted), _IDS):
            part = wanted[at : at + _IDS]
            with database.connection() as connection:
                rows = connection.execute(statement("integrity/bodies_of_ids"), {"ids": part}).fetchall()
            without = len(part) - len({row["content_id"] for row in rows})
            comparison.attempted += without
            comparison.skip(NO_ROW, without)
            pairs.compare(named_bodies(rows))
        pairs.settle()
    return comparison


def named_bodies(rows: Iterable[Row]) -> Iterator[Named]:
    """The documents that the rows name, from rows in order of content id and version: mostly two rows name one."""
    for position, at_one in groupby(rows, key=_position):
        together: dict[str, list[Row]] = {}
        for row in at_one:
            together.setdefault(row["zerodb_row_id"], []).append(row)
        for document_id, named_by in together.items():
            yield Named((*position, document_id), position.content_id, document_id, tuple(named_by))


def judge_body(named: Named, document: Document | None) -> list[Difference]:
    """What differs between a body's document and the rows that name it. One difference where the hash is wrong."""
    if document is None:
        return [_difference(Kind.DOCUMENT_MISSING, named, named.rows, {})]
    encoded = _encoded(document.get("body"))
    found = hashlib.sha256(encoded).hexdigest() if encoded is not None else None
    wrong = [row for row in named.rows if row["body_sha256"] != found]
    if wrong:
        detail = {
            "found_sha256": found,
            "found_bytes": None if encoded is None else len(encoded),
            # The document's own claim: where it is the expected hash, the body was changed after it was written.
            "document_sha256": shown(document.get("body_sha256")),
        }
        if encoded is None:
            detail["body"] = "text without UTF-8" if isinstance(document.get("body"), str) else "not text"
        return [_difference(Kind.BODY_HASH_DIFFERS, named, wrong, detail)]
    differences = []
    size = len(encoded or b"")
    if wrong := [row for row in named.rows if row["storage_size_bytes"] != size]:
        differences.append(_difference(Kind.BODY_SIZE_DIFFERS, named, wrong, {"found_bytes": size}))
    row = named.rows[0]
    expected = {"content_id": str(row["content_id"]), "tenant_id": row["tenant_id"], "body_sha256": found}
    # Not every writer gives these two, and no reader needs them.
    optional = {"version": row["version"], "size_bytes": size}
    expected |= {name: value for name, value in optional.items() if document.get(name) is not None}
    if fields := differing(expected, document):
        differences.append(_difference(Kind.DOCUMENT_DIFFERS, named, [row], {"fields": fields}))
    return differences


BODIES = Pairing(COLLECTION, "integrity/bodies_of_ids", named_bodies, judge_body)


def _rows(database: Database, tenant: UUID | None) -> Generator[Row, None, None]:
    """Every row that names a body, or a tenant's. All by pages, since setting them aside would take room."""
    if tenant is not None:
        yield from stream(database, "integrity/bodies_tenant", {"tenant": tenant})
        return
    page = Page([], START, False)
    while not page.last:
        page = read_page(database, page.reached)
        yield from page.rows


def _position(row: Row) -> Position:
    return Position(row["content_id"], row["version"])


def _encoded(body: object) -> bytes | None:
    """The body's bytes, or None for what is no text or has no UTF-8: a document store can give back both."""
    try:
        return body.encode() if isinstance(body, str) else None
    except UnicodeEncodeError:
        return None


def _difference(kind: Kind, named: Named, rows: Sequence[Row], detail: dict[str, Any]) -> Difference:
    row = rows[0]
    told = {
        "content_id": str(row["content_id"]),
        "version": row["version"],
        "rows": [f"{each['row_table']}:{each['row_id']}" for each in rows],
        "expected_sha256": row["body_sha256"],
        "expected_bytes": row["storage_size_bytes"],
    }
    return Difference(kind, COLLECTION, named.document_id, row["tenant_id"], told | detail)
