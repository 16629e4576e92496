"""What a repair did or would do, in words: which kinds have an action, which are refused and why, and the report."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from content_orchestration.core.errors import Permanent
from content_orchestration.core.integrity.findings import SAMPLES, Difference, Kind
from content_orchestration.core.integrity.repair_log import Action, Outcome

_SEND = "send the row to BigQuery again, or a tombstone where PostgreSQL has none"
_MEND_BODY = "store the body that has the hash of its row"
ACTIONS: dict[Kind, str] = {
    Kind.MISSING_IN_WAREHOUSE: _SEND,
    Kind.EXTRA_IN_WAREHOUSE: _SEND,
    Kind.DIFFERENT_IN_WAREHOUSE: _SEND,
    Kind.CORRUPT_PAYLOAD: _SEND,
    Kind.DUPLICATE_IN_WAREHOUSE: _SEND,
    Kind.TOMBSTONE_MISSING: _SEND,
    Kind.BODY_MISSING_IN_WAREHOUSE: _SEND,
    Kind.CORRUPT_BODY_IN_WAREHOUSE: _SEND,
    Kind.DOCUMENT_MISSING: "store the document again: a body by its hash, any other from its row",
    Kind.DUPLICATE_DOCUMENT: "make the copies equal, then leave one",
    Kind.BODY_HASH_DIFFERS: _MEND_BODY,
    Kind.BODY_SIZE_DIFFERS: "write the size of the proven body into its rows",
    Kind.DOCUMENT_DIFFERS: "write the fields that the row determines",
    Kind.VERSION_GAP: "insert the version record as BigQuery's history proves it",
    Kind.VERSION_DIFFERS: "insert the version record as BigQuery's history proves it",
    Kind.SPILL_DIFFERS: _MEND_BODY,
    Kind.USAGE_DIFFERS: "count the tenant's usage from what is stored",
}
REFUSED: dict[Kind, str] = {
    Kind.DOCUMENT_WITHOUT_ROW: "a repair deletes no live document: cleanup quarantines it and asks twice, or restore "
    "the row that it belongs to",
    Kind.SPILL_WITHOUT_ROW: "a repair deletes no row: look whose body it is, and delete it by hand if it is nobody's",
}


_ROTTEN_PAST = (
    "a state of the history that later ones replaced has rotted and none of them holds its content: the row as it is "
    "is right, and nothing can prove what it was then. A restore to that time lacks it"
)


def refusal(difference: Difference) -> str | None:
    """Why a repair leaves this as it is; None where it acts."""
    if difference.detail.get("superseded"):
        return _ROTTEN_PAST
    return REFUSED.get(difference.kind)


@dataclass
class RepairReport:
    """What a repair did, or would do. `left` is how many differences the run did not take up."""

    report_id: int
    dry_run: bool
    actions: list[Action] = field(default_factory=list)
    left: int = 0
    abandoned: int = 0
    problems: list[str] = field(default_factory=list)
    after_report_id: int | None = None
    seconds: float = 0.0

    @property
    def outcomes(self) -> dict[str, int]:
        """Actions by outcome; `planned` in a dry run."""
        return dict(Counter(str(action.outcome or "planned") for action in self.actions))

    @property
    def clean(self) -> bool:
        """Whether everything that was taken up is as it should be, by a look after the repair."""
        good = (Outcome.REPAIRED, Outcome.ALREADY_CLEAN)
        return not self.dry_run and all(action.outcome in good for action in self.actions)

    @property
    def summary(self) -> str:
        """One sentence for the UI."""
        counted = (
            ", ".join(f"{number:,} {outcome}" for outcome, number in sorted(self.outcomes.items())) or "nothing to do"
        )
        rest = f"; {self.left:,} more wait for another run" if self.left else ""
        if self.dry_run:
            return (
                f"dry run of report {self.report_id}, nothing was written: {counted}{rest}. Set dry_run to false to act"
            )
        checked = "; the same comparisons are clean" if self.clean else ""
        return f"report {self.report_id}: {counted}{rest}{checked}"

    def as_metadata(self) -> dict[str, Any]:
        """Plain JSON values; at most 20 actions of a kind and outcome."""
        shown: Counter[tuple[Kind, Outcome | None]] = Counter()
        samples = []
        for action in self.actions:
            group = action.found.difference.kind, action.outcome
            shown[group] += 1
            if shown[group] <= SAMPLES:
                samples.append(action.as_metadata())
        return {
            "report_id": self.report_id,
            "dry_run": self.dry_run,
            "summary": self.summary,
            "outcomes": self.outcomes,
            "left": self.left,
            "abandoned_by_earlier_runs": self.abandoned,
            "problems": self.problems,
            "after_report_id": self.after_report_id or 0,
            "clean": self.clean,
            "actions": samples,
            "seconds": round(self.seconds, 3),
        }


def chosen_kinds(names: Sequence[str]) -> list[Kind]:
    """The kinds of these names, all where none is given. Raises `Permanent` for a name that is no kind."""
    wrong = [name for name in names if name not in set(Kind)]
    if wrong:
        raise Permanent(f"kinds has {', '.join(map(repr, wrong))}, which is none of: {', '.join(sorted(Kind))}")
    return [Kind(name) for name in dict.fromkeys(names)] or list(Kind)
