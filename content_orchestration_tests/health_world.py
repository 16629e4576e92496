"""Makes each threshold of the health page true, through the tables and servers that it is read from."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from uuid import UUID, uuid4

from content_orchestration.core.quota.decision import QuotaExceeded
from content_orchestration.core.quota.ledger import QuotaLedger
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration_tests.usage_rows import GIB, run, tenant

SHA = "0" * 64


def changes(database: PostgresClient, count: int, age: str, entity: str = "content_storage") -> None:
    """That many items with a change of this age that waits for BigQuery."""
    run(
        database,
        "INSERT INTO content_changes (entity, entity_id, tenant_id, op, changed_at) "
        "SELECT %s, gen_random_uuid(), gen_random_uuid(), 'I', now() - %s::interval FROM generate_series(1, %s)",
        [entity, age, count],
    )


def window(database: PostgresClient, age: str) -> None:
    """A sync that closed so long ago."""
    run(
        database,
        "INSERT INTO replication_windows (sync_id, system_identifier, low_xid, high_xid, status, changes, run_id, "
        "synced_at, opened_at, closed_at) SELECT coalesce(max(sync_id), 0) + 1, 's', '1', '2', 'closed', 1, 'r', "
        "now() - %(age)s::interval, now() - %(age)s::interval, now() - %(age)s::interval FROM replication_windows",
        {"age": age},
    )


def spilled(database: PostgresClient, age: str) -> None:
    """A body that ZeroDB would not take so long ago."""
    run(
        database,
        "INSERT INTO content_body_spill (zerodb_row_id, tenant_id, content_id, version, body, body_sha256, size_bytes, "
        "created_at) VALUES (gen_random_uuid()::text, gen_random_uuid(), gen_random_uuid(), 1, 'b', %s, 1, "
        "now() - %s::interval)",
        [SHA, age],
    )


def orphan(database: PostgresClient, age: str) -> None:
    """A render that nobody saved, found so long ago and still not in quarantine."""
    run(
        database,
        "INSERT INTO render_candidates (job_id, since, state) "
        "VALUES (gen_random_uuid(), now() - %s::interval, 'orphan')",
        [age],
    )


def refused(database: PostgresClient, times: int, name: str = "Refused") -> UUID:
    """A tenant to whom the ledger says no so often."""
    owner = tenant(database, "free", name)
    ledger = QuotaLedger(database)
    for _ in range(times):
        with suppress(QuotaExceeded):
            ledger.reserve(owner, bytes=2 * GIB)
            raise AssertionError("it was not refused")
    return UUID(owner)


def uses(database: PostgresClient, percent: int, name: str = "Full") -> None:
    """A tenant of the smallest plan that uses this share of it."""
    owner = tenant(database, "free", name)
    ledger = QuotaLedger(database)
    ledger.settle(ledger.reserve(owner, bytes=GIB * percent // 100), bytes=GIB * percent // 100)


def batch(database: PostgresClient, age: str) -> None:
    """A batch whose next item could have been claimed for so long, and nobody did."""
    from content_orchestration.core.generation.model import NewBatch, NewItem
    from content_orchestration.core.generation.queue import GenerationQueue

    queue = GenerationQueue(database, QuotaLedger(database))
    owner = UUID(tenant(database, "business", "Waits"))
    queue.submit(NewBatch(owner, estimated_bytes_per_item=10), [NewItem(request={"topic": "t"})], str(uuid4()))
    run(database, "UPDATE generation_jobs SET run_after = now() - %s::interval", [age])


def report(database: PostgresClient, age: str, outcome: str = "agree") -> None:
    """A comparison of the copies so long ago."""
    run(
        database,
        "INSERT INTO integrity_reports (scope, run_id, outcome, started_at, seconds, attempted, compared, differences, "
        "written_at) VALUES ('hourly', 'r', %(outcome)s, now(), 1, 1, 1, (%(outcome)s = 'different')::integer, "
        "now() - %(age)s::interval)",
        {"age": age, "outcome": outcome},
    )


def drill(database: PostgresClient, age: str, *, verified: bool = True) -> None:
    """A drill so long ago."""
    run(
        database,
        "INSERT INTO restore_drills (scenario, started_at, verified, run_id) "
        "VALUES ('s', now() - %s::interval, %s, 'r')",
        [age, verified],
    )


def backup(database: PostgresClient, age: str) -> None:
    """A backup of so long ago that was proven to restore."""
    run(
        database,
        "INSERT INTO database_backups (key, location, state, started_at, size_bytes, sha256, verified_at, run_id) "
        "VALUES ('k', 'l', 'verified', now() - %s::interval, 1, %s, now(), 'r')",
        [age, SHA],
    )


def untold(database: PostgresClient, age: str) -> None:
    """An alert that no target has taken for so long."""
    run(
        database,
        "INSERT INTO platform_alerts (kind, subject, cause, summary, reason, next_step, link, opened_at, last_error) "
        "VALUES ('run', 's', 'c', 's', 'r', 'n', 'l', now() - %s::interval, 'mail is down')",
        [age],
    )


# What keeps each figure just inside its limit, and what takes it just beyond.
LIMITS: Mapping[str, tuple[Callable[[PostgresClient], object], Callable[[PostgresClient], object]]] = {
    "replication_lag": (lambda d: changes(d, 1, "14 min"), lambda d: changes(d, 1, "15 min")),
    "unsynced_items": (
        lambda d: (changes(d, 1000, "61 min"), changes(d, 500, "59 min"), changes(d, 50, "2 h", "heartbeat")),
        lambda d: changes(d, 1, "61 min", "content_media"),
    ),
    "sync_failing": (
        lambda d: (window(d, "30 h"), window(d, "23 h 59 min")),
        lambda d: run(d, "UPDATE replication_windows SET closed_at = now() - interval '24 h 1 s'"),
    ),
    "spill_oldest": (lambda d: spilled(d, "59 min"), lambda d: spilled(d, "61 min")),
    "orphans_oldest": (lambda d: orphan(d, "5 h 59 min"), lambda d: orphan(d, "6 h 1 s")),
    "quota_rejections": (lambda d: (refused(d, 10), refused(d, 10)), lambda d: refused(d, 11)),
    "tenant_usage": (lambda d: uses(d, 85, "Fits"), lambda d: uses(d, 86)),
    "queue_unattended": (lambda d: batch(d, "9 min"), lambda d: batch(d, "10 min 1 s")),
    "last_verified": (
        lambda d: report(d, "2 h 59 min"),
        lambda d: (
            run(d, "UPDATE integrity_reports SET written_at = now() - interval '3 h 1 s'"),
            report(d, "1 min", "unknown"),
            report(d, "1 min", "different"),
        ),
    ),
    "last_drill": (
        lambda d: drill(d, "7 days 23 h"),
        lambda d: (
            run(d, "UPDATE restore_drills SET started_at = now() - interval '8 days 1 s'"),
            drill(d, "1 h", verified=False),
        ),
    ),
    "last_backup": (
        lambda d: backup(d, "99 days 23 h"),
        lambda d: run(d, "UPDATE database_backups SET started_at = now() - interval '100 days 1 s'"),
    ),
    "undelivered": (
        lambda d: untold(d, "59 min"),
        lambda d: run(d, "UPDATE platform_alerts SET opened_at = now() - interval '61 min'"),
    ),
}
