"""When a figure of the health page is red: each rule by name, with its number, unit, source and the way to the runbook.

Figures are read in `health_facts.py` and judged in `health.py`; no SQL and no Dagster here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

HOUR = 3600.0
DAY = 24 * HOUR


class State(StrEnum):
    """How a figure stands. The value is the word on the page."""

    OK = "ok"
    RED = "red"
    # It could not be looked at: not green, and not said to be bad.
    UNKNOWN = "unknown"
    # Switched off by a setting.
    OFF = "off"
    # Nothing has happened yet, and the platform is too young for that to be late.
    NOT_YET = "not yet"


@dataclass(frozen=True)
class Rule:
    """A threshold. `inclusive`: red from the limit on, else only above it. `anchor` is a heading of the runbook."""

    name: str
    group: str
    title: str
    limit: float
    unit: str
    source: str
    anchor: str
    inclusive: bool = False

    def is_red(self, value: float) -> bool:
        """Whether the value is beyond the limit."""
        return value >= self.limit if self.inclusive else value > self.limit

    @property
    def words(self) -> str:
        """The limit in words."""
        return f"{'at' if self.inclusive else 'above'} {shown(self.limit, self.unit)}"


TIERS = ("postgres", "zerodb", "bigquery")
TIER_NAMES: Mapping[str, str] = {"postgres": "PostgreSQL", "zerodb": "ZeroDB", "bigquery": "BigQuery"}
GROUPS: Mapping[str, str] = {
    "tiers": "The three tiers",
    "replication": "Replication",
    "content": "Bodies and cleanup",
    "quota": "Quota",
    "generation": "Generation",
    "proof": "Proof",
    "dagster": "Dagster and alerts",
}

_TARGET = "original target"
_LATENCY = {
    "postgres": (100.0, "every save waits for several statements; one takes 0.2 to 2 ms where all is well"),
    "zerodb": (500.0, _TARGET),
    "bigquery": (1000.0, "nobody but syncs and restores waits for it; a description takes 0.1 to 0.5 s"),
}
_ERRORS = {
    "postgres": (1.0, "as ZeroDB's"),
    "zerodb": (1.0, _TARGET),
    "bigquery": (5.0, "clients retry for two minutes, and a sync comes every 15"),
}


def _of_tier(tier: str) -> tuple[Rule, Rule, Rule]:
    name, latency, errors = TIER_NAMES[tier], _LATENCY[tier], _ERRORS[tier]
    return (
        Rule(
            f"{tier}_down", "tiers", f"{name} answers no probe", 100.0, "%", "no answer is no service",
            "a-tier-is-down", inclusive=True,
        ),
        Rule(f"{tier}_latency", "tiers", f"{name}: median answer", latency[0], "ms", latency[1], "a-tier-is-slow"),
        Rule(
            f"{tier}_errors", "tiers", f"{name}: probes of the last hour that failed", errors[0], "%", errors[1],
            "a-tier-is-slow",
        ),
    )  # fmt: skip


RULES: tuple[Rule, ...] = (
    *(rule for tier in TIERS for rule in _of_tier(tier)),
    Rule(
        "replication_lag", "replication", "Oldest change that is not in BigQuery", 900.0, "s",
        f"{_TARGET}: the recovery point objective of 15 minutes", "replication-is-behind", inclusive=True,
    ),
    Rule(
        "unsynced_items", "replication", "Items not in BigQuery for more than an hour", 1000.0, "items", _TARGET,
        "replication-is-behind",
    ),
    Rule("sync_failing", "replication", "Since the last sync that closed", DAY, "s", _TARGET, "no-sync-succeeds"),
    Rule(
        "spill_oldest", "content", "Oldest body that waits for ZeroDB", HOUR, "s",
        "the check no_body_waits_longer_than_an_hour", "bodies-wait-in-the-spill",
    ),
    Rule(
        "orphans_oldest", "content", "Oldest orphaned render that is not in quarantine", 6 * HOUR, "s",
        "a pass comes every hour: six have left it", "orphans-stay",
    ),
    Rule(
        "quota_rejections", "quota", "Refusals of one tenant today", 10.0, "refusals", _TARGET, "a-tenant-is-refused",
    ),
    Rule("tenant_usage", "quota", "Fullest tenant", 85.0, "%", _TARGET, "tenants-near-their-limit"),
    Rule(
        "queue_unattended", "generation", "Longest wait in a batch that nobody works", 600.0, "s",
        "the check no_batch_is_stuck: a run starts within half a minute", "a-batch-is-stuck",
    ),
    Rule(
        "last_verified", "proof", "Since the copies were last seen to agree", 3 * HOUR, "s",
        "they are compared every hour: two comparisons are missing", "nothing-was-verified-lately",
    ),
    Rule(
        "last_drill", "proof", "Since the last drill that was verified", 8 * DAY, "s",
        "drills run weekly; the check of dr_drill allows 8 days", "a-drill-is-red",
    ),
    Rule(
        "last_backup", "proof", "Since the last backup that was restored and compared", 100 * DAY, "s",
        "backups are quarterly; the check last_backup_is_young allows 100 days", "no-backup-was-proven-lately",
    ),
    Rule(
        "event_log", "dagster", "Dagster's event log", 10.0, "GiB",
        "25,000 rows a day for 90 days are about 4 GiB: retention does not keep up", "dagsters-event-log-is-large",
    ),
    Rule(
        "undelivered", "dagster", "Oldest alert or notice that waits for a target", HOUR, "s",
        "the check no_notice_waits_for_an_hour", "notices-are-not-delivered",
    ),
)  # fmt: skip
BY_NAME: Mapping[str, Rule] = {rule.name: rule for rule in RULES}


def shown(value: float, unit: str) -> str:
    """A value with its unit, for people: seconds in the unit that suits them."""
    if unit == "s":
        for name, seconds in (("days", DAY), ("h", HOUR), ("min", 60.0)):
            if value >= 2 * seconds or (value >= seconds and value % seconds == 0):
                return f"{value / seconds:,.1f}".removesuffix(".0") + f" {name}"
        return f"{value:,.1f}".removesuffix(".0") + " s"
    return f"{value:,.1f}".removesuffix(".0") + (" %" if unit == "%" else f" {unit}")
