"""Small timed questions to the tiers, and what the last hour's came to. What a question is, the resource decides.

A tier that does not answer must not take the page with it: the tiers are asked side by side, each within its own time.
"""

import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from content_orchestration.core.database import Database, Row
from content_orchestration.core.errors import ContentError
from content_orchestration.core.sql import statement

# In an hour of looks every five minutes these are 120 a tier: one lost answer is below one percent, two are not.
PROBES = 10
# No further probe begins after this: of a slow tier fewer are made, and none of them is cut off for lack of time.
BEGIN_SECONDS = 0.5
TIER_SECONDS = 1.5
"""What all probes of a tier may take together; one that has not come back by then has failed."""
_MOST_FAILURES = 3
KEPT_DAYS = 7

Probe = Callable[[], None]


@dataclass
class Sample:
    """The probes of one tier at one moment: how many were made, the seconds of each answer, the last error."""

    tier: str
    probes: int = 0
    answered: list[float] = field(default_factory=list)
    error: str | None = None

    @property
    def failed(self) -> int:
        """Probes without an answer."""
        return self.probes - len(self.answered)

    @property
    def seconds(self) -> float | None:
        """The median of the answers, None without any."""
        return statistics.median(self.answered) if self.answered else None

    @property
    def is_down(self) -> bool:
        """Whether none was answered."""
        return not self.answered


def probe_tiers(
    probes: Mapping[str, Probe],
    *,
    count: int = PROBES,
    seconds: float = TIER_SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Sample]:
    """Ask each tier up to `count` times, all tiers at once; returns within `seconds` and a little, whatever hangs.

    A probe raises what its client raises. A tier that failed three times is not asked again: each may cost its timeout.
    """
    found = {tier: Sample(tier) for tier in probes}
    threads = [
        threading.Thread(target=_ask, args=(found[tier], probe, count, clock), daemon=True, name=f"probe {tier}")
        for tier, probe in probes.items()
    ]
    ends = clock() + seconds
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, ends - clock()))
    # Copies: a thread that hangs may still write into its own.
    return {tier: _settled(sample, seconds) for tier, sample in found.items()}


def _ask(sample: Sample, probe: Probe, count: int, clock: Callable[[], float]) -> None:
    first = clock()
    while sample.probes < count and sample.failed < _MOST_FAILURES:
        started = clock()
        if started - first > BEGIN_SECONDS:
            return
        sample.probes += 1
        try:
            probe()
        except Exception as error:  # noqa: BLE001  (whatever a client raises is an answer that did not come)
            sample.error = str(error) if isinstance(error, ContentError) else f"{type(error).__name__}: {error}"
        else:
            sample.answered.append(clock() - started)


def _settled(sample: Sample, seconds: float) -> Sample:
    answered, probes = list(sample.answered), max(1, sample.probes)
    error = sample.error
    if len(answered) < probes and error is None:
        error = f"{probes - len(answered)} of {probes} probes had no answer within {seconds:g} s"
    return Sample(sample.tier, probes, answered, error)


def record_samples(database: Database, samples: Sequence[Sample]) -> None:
    """Write the samples down, and forget those older than a week."""
    with database.connection() as connection:
        for sample in samples:
            connection.execute(
                statement("operations/health_sample_insert"),
                {
                    "tier": sample.tier,
                    "probes": sample.probes,
                    "failed": sample.failed,
                    "seconds": sample.seconds,
                    "error": None if sample.error is None else sample.error.replace("\0", "")[:1000],
                },
            )
        connection.execute(statement("operations/health_samples_forget"), {"days": KEPT_DAYS})


def recent_samples(database: Database, hours: float = 1.0) -> list[Row]:
    """The samples of the last hours, oldest first."""
    with database.connection() as connection:
        return connection.execute(statement("operations/health_samples_recent"), {"hours": hours}).fetchall()


def error_percent(rows: Sequence[Row], tier: str) -> float | None:
    """The share of a tier's probes among `rows` that failed, in percent; None where it was never asked."""
    mine = [row for row in rows if row["tier"] == tier]
    asked = sum(row["probes"] for row in mine)
    return 100.0 * sum(row["failed"] for row in mine) / asked if asked else None
