"""The comparison of PostgreSQL with BigQuery: writers beside it, its bounds, its reach, and when it cannot look."""

import os
import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any, cast
from uuid import uuid4

import pytest

from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.integrity import warehouse_rows
from content_orchestration.core.integrity.deep import deep_compare, record_scrub, scrub_partitions
from content_orchestration.core.integrity.findings import Comparison, Kind
from content_orchestration.core.integrity.outcome import looked
from content_orchestration.core.integrity.warehouse_rows import BEHIND_THE_SYNC, DURING, compare_rows
from content_orchestration.core.replication.tables import CONTENT_MEDIA, CONTENT_STORAGE, ENTITIES
from content_orchestration.core.warehouse import Warehouse
from content_orchestration.local.ports import free_ports
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration_tests.fake_warehouse import FakeWarehouse
from content_orchestration_tests.integrity_mutations import (
    OTHER_TENANT,
    behind_the_triggers,
    in_history,
    populate,
    swapped,
)
from content_orchestration_tests.replication_fakes import sync
from content_orchestration_tests.replication_model import TENANT, add_content, content_row, insert, new_version
from content_orchestration_tests.tiers import Tiers

SOAK = os.environ.get("SOAK") == "1"
MAX_BYTES = 10 * 1024**3


def compared(tiers: Tiers, **given: Any) -> Comparison:
    return compare_rows(tiers.database, tiers.warehouse, CONTENT_STORAGE, **{"max_bytes": MAX_BYTES, **given})


def found(comparison: Comparison) -> set[tuple[Kind, str]]:
    return {(difference.kind, difference.entity_id) for difference in comparison.differences}


@dataclass
class Watched:
    """The warehouse with an estimate of its own (the emulator knows none), and a moment to step in."""

    inner: Warehouse
    estimated: int = 0
    before_rows: Any = None
    bounds: list[int | None] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def estimate(self, sql: str, parameters: Any = None) -> int:
        self.inner.estimate(sql, parameters)
        return self.estimated

    def query(
        self, sql: str, parameters: Any = None, *, maximum_bytes_billed: int | None = None
    ) -> Iterator[dict[str, Any]]:
        self.bounds.append(maximum_bytes_billed)
        self.sent.append(sql)
        if self.before_rows:
            self.before_rows(sql)
        return self.inner.query(sql, parameters, maximum_bytes_billed=maximum_bytes_billed)


def through(watched: Watched) -> Warehouse:
    return cast(Warehouse, watched)


# --- writers ---------------------------------------------------------------------------------------------------------


def test_writers_and_syncs_beside_it_raise_no_false_alarm(tiers: Tiers) -> None:
    """Rows come, change and go, syncs run; every comparison meanwhile finds the one planted difference alone."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201
    choice = random.Random(seed)
    items = [uuid4() for _ in range(40)]
    planted = uuid4()
    populate(tiers, [*items, planted], [])
    sync(tiers)
    behind_the_triggers(tiers, "UPDATE content_storage_metadata SET title = 'other' WHERE id = %s", str(planted))
    stop, errors, writes = threading.Event(), [], [0]

    def write() -> None:
        while not stop.is_set():
            with tiers.database.connection() as connection:
                for each in choice.sample(items, 3):
                    new_version(connection, tiers.store, each)
                gone = choice.choice(items)
                if choice.random() < 0.3:
                    connection.execute("DELETE FROM content_storage_metadata WHERE id = %s", (gone,))
                else:
                    insert(connection, "content_storage_metadata", content_row(gone), upsert=True)
                if choice.random() < 0.5:
                    new = uuid4()
                    add_content(connection, tiers.store, [new])
                    items.append(new)
            writes[0] += 1

    def replicate() -> None:
        while not stop.is_set():
            sync(tiers)

    def guarded(work: Any) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  (told to the test below)
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in (write, replicate)]
    for thread in threads:
        thread.start()
    try:
        results = [compared(tiers) for _ in range(60 if SOAK else 8)]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not errors, errors
    assert writes[0] > 0
    for comparison in results:
        assert found(comparison) == {(Kind.DIFFERENT_IN_WAREHOUSE, str(planted))}
        assert comparison.compared + sum(comparison.skipped.values()) == comparison.attempted
    assert any(comparison.skipped for comparison in results), "nothing was ever in flight: the test looked at nothing"


def _meanwhile(tiers: Tiers, action: Any, **given: Any) -> Comparison:
    """A comparison during which `action` happens and is replicated: after the snapshot, before BigQuery is read."""
    done = []

    def once(sql: str) -> None:
        if not done:
            done.append(True)
            action()
            sync(tiers)

    watched = through(Watched(tiers.warehouse, before_rows=once))
    return compare_rows(tiers.database, watched, CONTENT_STORAGE, max_bytes=MAX_BYTES, **given)


@pytest.mark.parametrize("by_id", [False, True], ids=["buckets", "ids"])
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE content_storage_metadata SET title = 'later' WHERE id = %s",
        "DELETE FROM content_storage_metadata WHERE id = %s",
    ],
)
def test_a_change_that_is_replicated_meanwhile_is_skipped(tiers: Tiers, change: str, by_id: bool) -> None:
    items = [uuid4() for _ in range(5)]
    populate(tiers, items, [])
    sync(tiers)

    def act() -> None:
        with tiers.database.connection() as connection:
            connection.execute(change, (items[0],))  # type: ignore[arg-type]

    comparison = _meanwhile(tiers, act, **({"ids": [str(each) for each in items]} if by_id else {}))
    assert (comparison.outcome, comparison.skipped) == ("agree", {DURING: 1})
    assert (comparison.attempted, comparison.compared) == (5, 4)
    assert compared(tiers).skipped == {}


def test_a_row_that_comes_meanwhile_is_skipped(tiers: Tiers) -> None:
    populate(tiers, [uuid4() for _ in range(3)], [])
    sync(tiers)
    comparison = _meanwhile(tiers, lambda: populate(tiers, [uuid4()], []))
    assert (comparison.outcome, comparison.skipped) == ("agree", {DURING: 1})


def test_a_row_that_is_put_right_meanwhile_is_skipped(tiers: Tiers) -> None:
    """No trigger saw either write; the version of the row tells that it moved."""
    [item] = items = [uuid4()]
    populate(tiers, items, [])
    sync(tiers)
    change = "UPDATE content_storage_metadata SET title = %s WHERE id = %s"
    behind_the_triggers(tiers, change, "wrong", str(item))
    assert found(compared(tiers)) == {(Kind.DIFFERENT_IN_WAREHOUSE, str(item))}
    comparison = _meanwhile(tiers, lambda: behind_the_triggers(tiers, change, "Title 1", str(item)))
    assert (comparison.outcome, comparison.skipped) == ("agree", {DURING: 1})


def test_a_truncate_that_waits_for_its_sync_hides_what_only_bigquery_has(tiers: Tiers) -> None:
    """TRUNCATE removes rows that its own snapshot cannot see: until its window is closed, nobody can name them."""
    items = [uuid4() for _ in range(3)]
    populate(tiers, items, [])
    sync(tiers)
    behind_the_triggers(tiers, "DELETE FROM content_storage_metadata WHERE id = %s", str(items[0]))
    assert found(compared(tiers)) == {(Kind.EXTRA_IN_WAREHOUSE, str(items[0]))}
    with tiers.database.connection() as connection:
        connection.execute("TRUNCATE content_storage_metadata")
    comparison = compared(tiers)
    assert (comparison.outcome, comparison.skipped) == ("agree", {BEHIND_THE_SYNC: 2, DURING: 1})


def test_what_waits_for_its_sync_is_left_out_and_counted(tiers: Tiers) -> None:
    items = [uuid4() for _ in range(6)]
    populate(tiers, items, [])
    sync(tiers)
    with tiers.database.connection() as connection:
        connection.execute("UPDATE content_storage_metadata SET title = 'x' WHERE id = ANY (%s)", (items[:2],))
        connection.execute("DELETE FROM content_storage_metadata WHERE id = %s", (items[2],))
    behind_the_triggers(tiers, "UPDATE content_storage_metadata SET title = 'y' WHERE id = ANY (%s)", items[1:4:2])
    comparison = compared(tiers)
    assert found(comparison) == {(Kind.DIFFERENT_IN_WAREHOUSE, str(items[3]))}
    assert (comparison.attempted, comparison.compared, comparison.skipped) == (6, 3, {BEHIND_THE_SYNC: 3})
    named = compared(tiers, ids=[str(each) for each in items])
    assert found(named) == found(comparison)
    assert (named.attempted, named.compared, named.skipped) == (6, 3, {DURING: 3})


# --- reach -----------------------------------------------------------------------------------------------------------


def test_one_tenant_is_compared_alone(tiers: Tiers) -> None:
    mine, theirs, misfiled = uuid4(), uuid4(), uuid4()
    populate(tiers, [mine, misfiled], [])
    with tiers.database.connection() as connection:
        add_content(connection, tiers.store, [theirs], tenant_id=OTHER_TENANT)
    sync(tiers)
    in_history(tiers, "UPDATE {h} SET tenant_id = @b WHERE entity_id = @a", a=str(misfiled), b=OTHER_TENANT)
    behind_the_triggers(tiers, "UPDATE content_storage_metadata SET title = 'x' WHERE id = %s", str(theirs))
    one = compared(tiers, tenant_id=str(TENANT))
    other = compared(tiers, tenant_id=OTHER_TENANT)
    assert found(one) == {(Kind.DIFFERENT_IN_WAREHOUSE, str(misfiled))}
    assert one.attempted == 2
    assert found(other) == {(Kind.DIFFERENT_IN_WAREHOUSE, str(each)) for each in (theirs, misfiled)}
    assert {d.entity_id: d.tenant_id for d in other.differences}[str(misfiled)] == str(TENANT)
    with pytest.raises(Permanent, match="tenant_id is 'nobody'"):
        compared(tiers, tenant_id="nobody")


def test_some_ids_are_compared_alone(tiers: Tiers) -> None:
    items = [uuid4() for _ in range(4)]
    populate(tiers, items, [])
    sync(tiers)
    for each in items[:2]:
        behind_the_triggers(tiers, "UPDATE content_storage_metadata SET title = 'x' WHERE id = %s", str(each))
    comparison = compared(tiers, ids=[str(items[1]), str(items[2]), str(uuid4())])
    assert found(comparison) == {(Kind.DIFFERENT_IN_WAREHOUSE, str(items[1]))}
    assert comparison.attempted == 3
    assert compared(tiers, ids=[]).outcome == "agree"
    with pytest.raises(Permanent, match="ids is 'x'"):
        compared(tiers, ids=["x"])


def test_a_swap_within_one_bucket_does_not_cancel_out(tiers: Tiers) -> None:
    """Sums over payload hashes alone would not change: each digest is bound to its id."""
    first = uuid4()
    second = next(other for other in iter(uuid4, None) if str(other)[-3:] == str(first)[-3:])
    populate(tiers, [first, second], [])
    sync(tiers)
    swapped(tiers, str(first), str(second), "row_json", "row_sha256")
    assert found(compared(tiers)) == {(Kind.DIFFERENT_IN_WAREHOUSE, str(each)) for each in (first, second)}


@pytest.mark.parametrize("digits", [2, 3])
def test_large_buckets_are_divided_and_opened_in_parts(
    tiers: Tiers, monkeypatch: pytest.MonkeyPatch, digits: int
) -> None:
    """The same differences, whether buckets are few, many, divided once more, or read a few rows at a time."""
    items = [uuid4() for _ in range(300)]
    populate(tiers, items, [])
    sync(tiers)
    changed = [str(each) for each in items[:7]]
    behind_the_triggers(tiers, "UPDATE content_storage_metadata SET title = 'x' WHERE id = ANY (%s)", changed)
    monkeypatch.setattr(warehouse_rows, "_FEW_ROWS", 100_000 if digits == 2 else 10)
    plain = compared(tiers)
    monkeypatch.setattr(warehouse_rows, "_LARGE", 1)
    monkeypatch.setattr(warehouse_rows, "_ROWS_AT_ONCE", 2)
    monkeypatch.setattr(warehouse_rows, "_IDS_AT_ONCE", 2)
    watched = Watched(tiers.warehouse)
    divided = compare_rows(tiers.database, through(watched), CONTENT_STORAGE, max_bytes=MAX_BYTES)
    named = compared(tiers, ids=[str(each) for each in items[:9]])
    for comparison in (plain, divided, named):
        assert found(comparison) == {(Kind.DIFFERENT_IN_WAREHOUSE, each) for each in changed}
    assert sum("GROUP BY bucket" in sql for sql in watched.sent) == 2, "the buckets were not divided"
    assert len(watched.sent) > 4, "the rows were read at once"
    assert set(watched.bounds) == {MAX_BYTES}


# --- when it cannot look ---------------------------------------------------------------------------------------------


def test_before_the_first_sync_there_is_nothing_to_compare(tiers: Tiers) -> None:
    populate(tiers, [uuid4()], [])
    comparison = looked("rows", lambda: compared(tiers))
    assert comparison.outcome == "unknown"
    assert "nothing has been replicated yet" in (comparison.unknown or "")


def test_the_cursor_of_another_cluster_is_no_measure(tiers: Tiers) -> None:
    populate(tiers, [uuid4()], [])
    sync(tiers)
    with tiers.database.connection() as connection:
        connection.execute("UPDATE replication_cursor SET system_identifier = 'another'")
    with pytest.raises(Permanent, match="belongs to cluster another"):
        compared(tiers)


def test_too_much_in_flight_asks_for_a_sync(tiers: Tiers, monkeypatch: pytest.MonkeyPatch) -> None:
    populate(tiers, [uuid4()], [])
    sync(tiers)
    populate(tiers, [uuid4() for _ in range(3)], [])
    monkeypatch.setattr(warehouse_rows, "_MOST_IN_FLIGHT", 2)
    with pytest.raises(Transient, match="more than 2 ids"):
        compared(tiers)


@pytest.mark.parametrize("deep", [False, True], ids=["rows", "deep"])
def test_an_estimate_past_the_bound_refuses_before_it_reads(tiers: Tiers, deep: bool) -> None:
    populate(tiers, [uuid4()], [])
    sync(tiers)
    watched = Watched(tiers.warehouse, estimated=40 * 1024**2)

    def look(max_bytes: int) -> Comparison:
        if deep:
            return deep_compare(tiers.database, through(watched), CONTENT_STORAGE, max_bytes=max_bytes, days=None)
        return compare_rows(tiers.database, through(watched), CONTENT_STORAGE, max_bytes=max_bytes)

    comparison = looked("it", lambda: look(20 * 1024**2))
    assert comparison.outcome == "unknown"
    assert "INTEGRITY_MAX_BYTES allows 20,971,520" in (comparison.unknown or "")
    assert watched.sent == []
    assert look(100 * 1024**2).bytes_estimated == (80 if deep else 40) * 1024**2
    assert set(watched.bounds) == {100 * 1024**2}


@contextmanager
def _nobody_home(tiers: Tiers, what: str) -> Iterator[Tiers]:
    """The tiers with one of them on a port where nobody listens."""
    [port] = free_ports(1)
    if what == "postgres":
        with PostgresClient(f"postgresql://postgres@127.0.0.1:{port}/none") as database:
            yield replace(tiers, database=database)
        return
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import bigquery

    from content_orchestration.resources.bigquery_client import BigQueryClient

    google = bigquery.Client(
        project="p", credentials=AnonymousCredentials(), client_options={"api_endpoint": f"http://127.0.0.1:{port}"}
    )
    yield replace(tiers, google=BigQueryClient(google, "d", attempts=1, retry_seconds=2.0), ready=True)
    google.close()


@pytest.mark.parametrize("what", ["postgres", "bigquery"])
def test_a_system_that_is_down_makes_it_unknown(tiers: Tiers, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("content_orchestration.resources.postgres_client._CONNECT_SECONDS", 1.0)
    populate(tiers, [uuid4()], [])
    sync(tiers)
    with _nobody_home(tiers, what) as broken:
        rows = looked("rows", lambda: compared(broken))
        deep = looked(
            "deep",
            lambda: deep_compare(
                broken.database, broken.warehouse, CONTENT_STORAGE, max_bytes=MAX_BYTES, days=[date(2026, 1, 1)]
            ),
        )
    for comparison in (rows, deep):
        assert (comparison.outcome, comparison.differences) == ("unknown", [])
        assert comparison.unknown
        assert comparison.seconds >= 0


def test_a_defect_of_ours_is_no_outage() -> None:
    def look() -> Comparison:
        raise KeyError("a defect")

    with pytest.raises(KeyError):
        looked("it", look)


# --- partitions ------------------------------------------------------------------------------------------------------


class Partitions(FakeWarehouse):
    """A history with a row on each of some days."""

    days: Sequence[date] = ()

    def query(
        self, sql: str, parameters: Mapping[str, Any] | None = None, *, maximum_bytes_billed: int | None = None
    ) -> Iterator[dict[str, Any]]:
        return iter([{"day": day.isoformat(), "present": 1} for day in self.days])


def test_a_deep_comparison_reads_the_days_that_it_is_given(tiers: Tiers) -> None:
    item = uuid4()
    populate(tiers, [item], [])
    sync(tiers)
    in_history(tiers, "UPDATE {h} SET body = 'rot' WHERE entity_id = @a", a=str(item))
    today = datetime.now(UTC).date()

    def deep(*days: date) -> Comparison:
        return deep_compare(tiers.database, tiers.warehouse, CONTENT_STORAGE, max_bytes=MAX_BYTES, days=days)

    near = [today + timedelta(days=step) for step in (1, 0, -1)]
    assert found(deep(*near)) == {(Kind.CORRUPT_BODY_IN_WAREHOUSE, str(item))}
    assert deep(*near).attempted == 1
    elsewhere = deep(today - timedelta(days=9), today - timedelta(days=3), today - timedelta(days=8))
    assert (elsewhere.outcome, elsewhere.attempted) == ("agree", 0)
    assert (deep().outcome, deep().attempted) == ("agree", 0)


def test_every_partition_is_scrubbed_after_its_day_and_then_once_a_cycle(tiers: Tiers) -> None:
    """Forty days of hourly runs: each closed partition is read on the next day, then every seven days, evenly."""
    start = datetime(2026, 3, 1, 0, 30, tzinfo=UTC)
    warehouse = Partitions()
    reads: dict[date, list[datetime]] = {}
    for hour in range(0, 40 * 24, 6):
        now = start + timedelta(hours=hour)
        warehouse.days = [date(2026, 2, 1) + timedelta(days=n) for n in range((now.date() - date(2026, 2, 1)).days + 1)]
        due = scrub_partitions(tiers.database, warehouse, CONTENT_STORAGE, scrub_days=7, now=now)
        assert len(due) <= 11
        record_scrub(tiers.database, CONTENT_STORAGE, due, now)
        for day in due:
            reads.setdefault(day, []).append(now)
    end = start + timedelta(days=40)
    for day in warehouse.days[:-8]:
        times = reads[day]
        closed = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
        assert times[0] - max(start, closed) <= timedelta(days=7)
        assert all(timedelta(days=6) <= later - sooner <= timedelta(days=7) for sooner, later in pairwise(times))
        assert end - times[-1] <= timedelta(days=7, hours=6)


def test_missed_runs_are_made_up_for(tiers: Tiers) -> None:
    warehouse = Partitions()
    warehouse.days = [date(2026, 1, 1), date(2026, 1, 2), date(2026, 1, 20)]

    def due(now: datetime, scrub_days: int = 7) -> list[date]:
        return scrub_partitions(tiers.database, warehouse, CONTENT_STORAGE, scrub_days=scrub_days, now=now)

    first, never, last = warehouse.days
    assert due(datetime(2026, 1, 9, 5, tzinfo=UTC)) == [first]
    assert due(datetime(2026, 1, 9, 5, tzinfo=UTC), 0) == warehouse.days
    record_scrub(tiers.database, CONTENT_STORAGE, [first], datetime(2026, 1, 9, 5, tzinfo=UTC))
    assert due(datetime(2026, 1, 9, 6, tzinfo=UTC)) == []
    # No run for eleven days: one was read too long ago, one never; the last one's day is not over.
    assert due(datetime(2026, 1, 20, 5, tzinfo=UTC)) == [first, never]
    assert due(datetime(2026, 1, 20, 5, tzinfo=UTC), 1) == warehouse.days
    # Read while its day was open, it is due again on the day after.
    record_scrub(tiers.database, CONTENT_STORAGE, warehouse.days, datetime(2026, 1, 20, 5, tzinfo=UTC))
    assert due(datetime(2026, 1, 20, 6, tzinfo=UTC)) == []
    assert due(datetime(2026, 1, 21, 6, tzinfo=UTC)) == [last]
    record_scrub(tiers.database, CONTENT_STORAGE, [], datetime(2026, 1, 21, 6, tzinfo=UTC))


def test_all_tables_agree_after_a_sync(tiers: Tiers) -> None:
    populate(tiers, [uuid4() for _ in range(3)], [uuid4()])
    report = sync(tiers)
    for entity in ENTITIES:
        comparison = compare_rows(tiers.database, tiers.warehouse, entity, max_bytes=MAX_BYTES)
        assert (comparison.outcome, comparison.as_of_sync_id) == ("agree", report.last_sync_id)
        assert comparison.compared == (1 if entity is CONTENT_MEDIA else 3)


def test_the_client_bounds_and_estimates(tiers: Tiers, settings: Any) -> None:
    """The emulator bills nothing and says so; both requests reach it in the service's form."""
    sql = f"SELECT entity_id FROM `{tiers.warehouse.qualified('content_storage_dr')}` WHERE entity_id IN UNNEST(@ids)"
    assert tiers.warehouse.estimate(sql, {"ids": ["a"]}) == 0
    assert list(tiers.warehouse.query(sql, {"ids": ["a"]}, maximum_bytes_billed=10 * 1024**2)) == []
    with pytest.raises(Permanent):
        tiers.warehouse.estimate("SELECT nothing FROM `nowhere.at.all`")
