"""Everything that a world holds in PostgreSQL and ZeroDB, and the comparison of two such states, thing by thing.

It shares nothing with the engines that restore and compare: a drill that asked them would believe what it examines.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from content_orchestration.core.database import Database
from content_orchestration.core.documents import MARK, DocumentStore
from content_orchestration.core.schema.documents import COLLECTIONS
from content_orchestration.core.sql import statement

Thing = tuple[str, str]
"""Table or collection, and key."""

_SAMPLES = 5
# Copies of what the row said when the body was written. The row is what counts, and of an older version nothing says
# any more which title it had: a restored body comes without them.
_NOT_DETERMINED = {"content_items": ("title", "content_type")}


@dataclass(frozen=True)
class State:
    """SHA-256 of every row and document. Copies of one document count as one thing with another content."""

    things: Mapping[Thing, str]

    def differences(self, after: "State") -> "Differences":
        """What `after` lacks, has besides, and has otherwise."""
        common = self.things.keys() & after.things.keys()
        return Differences(
            missing=sorted(self.things.keys() - after.things.keys()),
            extra=sorted(after.things.keys() - self.things.keys()),
            changed=sorted(thing for thing in common if self.things[thing] != after.things[thing]),
        )


@dataclass(frozen=True)
class Differences:
    """Two states compared."""

    missing: list[Thing]
    extra: list[Thing]
    changed: list[Thing]

    @property
    def lost(self) -> set[Thing]:
        """Rows and documents that are gone or not as they were."""
        return {*self.missing, *self.changed}

    def as_metadata(self) -> dict[str, Any]:
        """Counts and a few keys of each kind."""
        return {
            kind: {"count": len(things), "samples": [f"{place} {key}" for place, key in things[:_SAMPLES]]}
            for kind, things in (("missing", self.missing), ("extra", self.extra), ("changed", self.changed))
        }


def record_state(database: Database, store: DocumentStore) -> State:
    """Read all of it. Not a snapshot over both tiers: nobody else may write meanwhile."""
    return State(dict([*_rows(database), *_documents(store)]))


def _rows(database: Database) -> Iterator[tuple[Thing, str]]:
    with database.connection() as connection:
        connection.execute(statement("replication/pin_settings"))
        for row in connection.execute(statement("drill/state")):
            yield (row["place"], row["key"]), _digest(row["printed"])


def _documents(store: DocumentStore) -> Iterator[tuple[Thing, str]]:
    for collection in COLLECTIONS:
        copies: dict[str, list[str]] = {}
        left_out = {MARK, *_NOT_DETERMINED.get(collection, ())}
        for document in store.scan(collection):
            kept = {name: value for name, value in document.items() if name not in left_out}
            text = json.dumps(kept, sort_keys=True, ensure_ascii=False)
            copies.setdefault(document["id"], []).append(text)
        for key, texts in copies.items():
            yield (f"zerodb {collection}", key), _digest("\0".join(sorted(texts)))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
