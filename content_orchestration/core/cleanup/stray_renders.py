"""Lists the platform's buckets of renders and tells of files that no render names. Nothing here removes one.

A file may be saved although its render's row is gone, and the buckets are not only ours: a person decides. What cleanup
itself left behind shows here too, among the renders and in the quarantine prefix.
"""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any

from content_orchestration.core.cleanup.addresses import QUARANTINE_PREFIX
from content_orchestration.core.cleanup.context import OrphanContext, database_time
from content_orchestration.core.cleanup.model import MOST_SAMPLES, Cleaned
from content_orchestration.core.cleanup.stray_look import YOUNG
from content_orchestration.core.errors import Permanent
from content_orchestration.core.media.model import ObjectInfo
from content_orchestration.core.sql import statement

KIND = "stray_render"
NO_RENDER, NO_QUARANTINE = "no render names it", "nothing in quarantine names it"
_PAGE = 1000


def look(context: OrphanContext, *, dry_run: bool) -> Cleaned:
    """List what `RENDER_BUCKETS` names and the quarantine prefix of its buckets, in pages of 1,000 files.

    `candidates` and `left` count the files that nobody names, `oldest_seconds` is the age of the oldest of them. Such
    files in never-delete places are counted as kept. Files younger than an hour are not seen yet. `dry_run` is only
    repeated. Raises `Transient` or `Permanent` where a bucket cannot be listed; one that is not there is no error as
    long as there is no render.
    """
    return _Look(context).work(dry_run=dry_run)


@dataclass
class _Look:
    context: OrphanContext
    scanned: int = 0
    strays: int = 0
    oldest: datetime | None = None
    skipped: Counter[str] = field(default_factory=Counter)
    samples: list[dict[str, Any]] = field(default_factory=list)

    def work(self, *, dry_run: bool) -> Cleaned:
        started = time.monotonic()
        with self.context.database.connection() as connection:
            now = database_time(connection)
        self.skipped["buckets_by_owner"] = len(self.context.places.unlisted)
        for name, folders in self.context.places.folders().items():
            self._bucket(name, folders, now)
        return Cleaned(
            KIND, dry_run, scanned=self.scanned, candidates=self.strays, skipped=+self.skipped,
            oldest_seconds=None if self.oldest is None else (now - self.oldest).total_seconds(), left=self.strays,
            samples=self.samples, seconds=time.monotonic() - started,
        )  # fmt: skip

    def _bucket(self, name: str, folders: list[str], now: datetime) -> None:
        bucket = self.context.stores.bucket(name)
        try:
            for folder in folders:
                # A bucket that is listed whole has the quarantine prefix in it, and that is listed by itself.
                files = (each for each in bucket.list(folder) if folder or not _in_quarantine(each))
                self._files(name, files, now, "cleanup/stray_renders", NO_RENDER)
            self._files(name, bucket.list(QUARANTINE_PREFIX), now, "cleanup/stray_copies", NO_QUARANTINE)
        except Permanent:
            if self._renders():
                raise
            self.skipped["no_store"] += 1

    def _files(self, name: str, files: Iterator[ObjectInfo], now: datetime, query: str, why: str) -> None:
        while page := list(islice(files, _PAGE)):
            self.scanned += len(page)
            old = {each.key: each for each in page if each.modified_at <= now - YOUNG}
            self.skipped["young"] += len(page) - len(old)
            values = {"bucket": name, "keys": list(old)}
            with self.context.database.connection() as connection:
                found = [row["key"] for row in connection.execute(statement(query), values).fetchall()]
            for each in (old[key] for key in found):
                self._stray(name, each, why)

    def _stray(self, name: str, found: ObjectInfo, why: str) -> None:
        place = f"{name}/{found.key}"
        if kept := self.context.never.forbids(None, place):
            self.skipped[kept] += 1
            return
        self.strays += 1
        self.oldest = min(self.oldest or found.modified_at, found.modified_at)
        if len(self.samples) < MOST_SAMPLES:
            self.samples.append({"file": place, "bytes": found.size_bytes, "why": why})

    def _renders(self) -> bool:
        with self.context.database.connection() as connection:
            return connection.execute(statement("cleanup/renders_there")).fetchone() is not None


def _in_quarantine(found: ObjectInfo) -> bool:
    return found.key.startswith(f"{QUARANTINE_PREFIX}/")
