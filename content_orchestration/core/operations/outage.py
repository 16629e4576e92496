"""When the outbox itself cannot be reached: one message past it, and one when it is back. No Dagster here.

The outbox is in PostgreSQL, so that no alert could say that PostgreSQL is gone. What was told is kept by the caller.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Self

from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.operations.alert_text import plain_reason
from content_orchestration.core.quota.notice_text import Message, Target

PATIENCE_SECONDS = 60.0
"""A restart of the server takes less."""


@dataclass
class Outage:
    """Since when the outbox cannot be reached (seconds since 1970, None while it can), and who was told."""

    since: float | None = None
    told: list[str] = field(default_factory=list)

    @classmethod
    def load(cls, text: str | None) -> Self:
        """From what `dump` made."""
        return cls(**json.loads(text)) if text else cls()

    def dump(self) -> str:
        """As text, for a sensor's cursor."""
        return json.dumps(asdict(self))

    def unreachable(self, now: float, why: str, targets: Sequence[Target], link: str) -> None:
        """The outbox cannot be reached. After a minute of it each target is told once."""
        self.since = now if self.since is None else self.since
        if now - self.since < PATIENCE_SECONDS:
            return
        moment = _moment(self.since)
        text = (
            f"{plain_reason(why)}\nNext: bring PostgreSQL back; until then no other alert can be told.\n"
            f"Runbook: {link}\n\nSince {moment} UTC. This is told once; a message follows when it is over."
        )
        message = Message(self._id("open"), "ALERT: alerts cannot reach PostgreSQL", text, {"kind": "outage"})
        self.told += [target.name for target in targets if target.name not in self.told and _sent(target, message)]

    def reachable(self, now: float, targets: Sequence[Target]) -> None:
        """The outbox can be reached. Who was told hears that it is over; one that cannot be told is asked again."""
        if self.since is None:
            return
        minutes = (now - self.since) / 60
        text = f"Over: PostgreSQL answers again. It began {_moment(self.since)} UTC, {minutes:.0f} min ago."
        message = Message(self._id("resolved"), "Resolved: alerts reach PostgreSQL again", text, {"kind": "outage"})
        there = {target.name for target in targets}
        told = {target.name for target in targets if target.name in self.told and _sent(target, message)}
        self.told = [name for name in self.told if name in there - told]
        if not self.told:
            self.since = None

    def _id(self, phase: str) -> str:
        return f"alert-outage-{phase}-{self.since or 0:.0f}"


def _sent(target: Target, message: Message) -> bool:
    try:
        target.send(message)
    except (Transient, Permanent):
        return False
    return True


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"
