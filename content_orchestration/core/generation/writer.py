"""Stores finished items together: bodies to ZeroDB, then rows and completions in one PostgreSQL transaction.

The transaction holds all of it or nothing, so an item is complete exactly if its content is there. The content's id
comes from the item's: whoever works an item again writes the same document.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from itertools import groupby
from uuid import UUID

from psycopg import Connection

from content_orchestration.core.content.errors import InvalidContent
from content_orchestration.core.content.model import NewContent
from content_orchestration.core.content.store import ContentStore
from content_orchestration.core.database import Row
from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.failpoints import reach
from content_orchestration.core.generation.item_work import Finished
from content_orchestration.core.generation.model import Claimed, Done, FailureCategory
from content_orchestration.core.generation.patience import patiently
from content_orchestration.core.generation.progress import Meter
from content_orchestration.core.generation.provider import Stopped
from content_orchestration.core.generation.queue import GenerationQueue
from content_orchestration.core.quota.decision import QuotaExceeded

FLUSH_ITEMS = 50
FLUSH_SECONDS = 0.5

Refuse = Callable[[Claimed, FailureCategory, str], None]


class ContentWriter:
    """Collects finished items and stores them `items` at a time, or what there is after `seconds`.

    How many wait is bounded by the queue, which gives out no more while `MOST_STORING_A_BATCH` of a batch are storing.
    `refuse` gets the items that cannot be stored, `settled` each item that this writer is through with, whatever became
    of it. One thread; `close` ends it.
    """

    def __init__(
        self,
        queue: GenerationQueue,
        store: ContentStore,
        meter: Meter,
        *,
        reservation: UUID | None,
        refuse: Refuse,
        settled: Callable[[Claimed], None],
        items: int = FLUSH_ITEMS,
        seconds: float = FLUSH_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue = queue
        self._store = store
        self._meter = meter
        self._reservation = reservation
        self._refuse = refuse
        self._settled = settled
        self._items = items
        self._seconds = seconds
        self._clock = clock
        self._waiting: deque[tuple[float, Finished]] = deque()
        self._changed = threading.Condition()
        self._hurried = False
        self._stored_at = clock()
        self._closing = False
        self._busy = False
        self._halt = threading.Event()
        self._thread = threading.Thread(target=self._run, name="generation-writer", daemon=True)

    def start(self) -> None:
        """Begin to store."""
        self._thread.start()

    def put(self, finished: Finished) -> None:
        """Hand over a finished item that the queue holds as storing."""
        with self._changed:
            self._waiting.append((self._clock(), finished))
            self._changed.notify_all()

    def hurry(self) -> None:
        """Nothing else is coming for now: store what waits at once.

        While a group is being stored that is not known: what it makes room for is still to come.
        """
        with self._changed:
            self._hurried = bool(self._waiting) and not self._busy
            self._changed.notify_all()

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is being stored."""
        with self._changed:
            return not self._waiting and not self._busy

    def close(self, seconds: float) -> None:
        """Store what waits and end, within about `seconds`; what could not be stored by then is left to its lease."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(seconds)
        self._halt.set()

    def _run(self) -> None:
        while group := self._next():
            for _, part in groupby(group, key=_account):
                self._keep(list(part))
            with self._changed:
                self._busy = False
                self._stored_at = self._clock()

    def _next(self) -> list[Finished]:
        """The next items to store; none when the writer is closed."""
        with self._changed:
            while not self._due():
                if self._closing:
                    return []
                left = self._due_at() - self._clock() if self._waiting else None
                self._changed.wait(left)
            self._hurried = False
            self._busy = True
            group = [self._waiting.popleft()[1] for _ in range(min(self._items, len(self._waiting)))]
        return sorted(group, key=_account)

    def _due(self) -> bool:
        if not self._waiting:
            return False
        aged = self._clock() >= self._due_at()
        return len(self._waiting) >= self._items or aged or self._hurried or self._closing

    def _due_at(self) -> float:
        """Counted from the last group's end at the earliest: with a slow store each group would be a leftover else."""
        return max(self._waiting[0][0], self._stored_at) + self._seconds

    def _keep(self, group: Sequence[Finished]) -> None:
        """Store the group; where it cannot be stored whole, its halves, down to the one that is at fault."""
        try:
            patiently(lambda: self._write(group), self._halt)
        except (Transient, Stopped):
            # The leases end, and another run does the items again; what was stored has their ids.
            for one in group:
                self._meter.lost()
                self._settled(one.claimed)
        except Exception as error:  # noqa: BLE001  (whatever is wrong with one item, the others must be stored)
            if len(group) > 1:
                half = len(group) // 2
                self._keep(group[:half])
                self._keep(group[half:])
                return
            self._refuse(group[0].claimed, *_blame(error))
            self._settled(group[0].claimed)

    def _write(self, group: Sequence[Finished]) -> None:
        accepted: list[str] = []

        def admit(connection: Connection[Row], ids: Sequence[UUID]) -> Collection[UUID]:
            done = [(one.claimed, _done(one, content)) for one, content in zip(group, ids, strict=True)]
            accepted[:] = self._queue.complete_in(connection, done)
            reach("generation_completed")
            kept = set(accepted)
            return [content for one, content in zip(group, ids, strict=True) if one.claimed.id in kept]

        first = group[0].claimed
        self._store.create_admitted(
            group[0].request.tenant_id,
            [_content(one) for one in group],
            admit,
            created_by="generation",
            reason=f"generated in batch {first.batch_id}" if first.batch_id else "generated",
            reservation=self._reservation if first.batch_id else None,
        )
        self._meter.finished(len(accepted))
        for one in group:
            if one.claimed.id not in accepted:
                self._meter.lost()
            self._settled(one.claimed)


def source_of(item_id: str) -> str:
    """The content's source: it makes the content's id, and one item becomes one content."""
    return f"generation:{item_id}"


def _account(finished: Finished) -> tuple[str, str, str]:
    """Items that may share a transaction: one tenant, one brand, one reservation."""
    claimed = finished.claimed
    return str(claimed.tenant_id), str(claimed.brand_id), str(claimed.batch_id)


def _content(finished: Finished) -> NewContent:
    claimed, text = finished.claimed, finished.reply.generated
    return NewContent(
        title=text.title,
        body=text.body,
        content_type=claimed.content_type,
        brand_id=claimed.brand_id,
        user_id=claimed.user_id,
        metadata={
            "tags": list(text.tags),
            "keywords": list(finished.request.keywords),
            "language": finished.request.language,
            "word_count": text.word_count,
            "seo_score": text.seo_score,
            "generated": {
                "item_id": claimed.id,
                "batch_id": str(claimed.batch_id) if claimed.batch_id else None,
                "provider": finished.reply.provider,
                "model": finished.reply.model,
            },
        },
        source=source_of(claimed.id),
    )


def _done(finished: Finished, content_id: UUID) -> Done:
    text = finished.reply.generated
    return Done(
        content_id=content_id,
        word_count=text.word_count,
        seo_score=text.seo_score,
        provider=finished.reply.provider,
        cost_usd=finished.cost_usd,
        storage_bytes=len(text.body.encode()),
    )


def _blame(error: Exception) -> tuple[FailureCategory, str]:
    """What an item failed of that could not be stored."""
    if isinstance(error, QuotaExceeded):
        return FailureCategory.quota, str(error)
    if isinstance(error, InvalidContent):
        return FailureCategory.provider, f"the provider's text cannot be stored: {error}"
    if isinstance(error, Permanent):
        return FailureCategory.unknown, str(error)
    return FailureCategory.unknown, f"{type(error).__name__} while the text was stored"
