"""The two operations of repairs, against an in-memory server: atomic replacement, and one copy left of several."""

from typing import Any

import httpx
import pytest

from content_orchestration.core.documents import MARK
from content_orchestration.core.errors import Transient
from content_orchestration.resources.zerodb_client import ZeroDBClient
from content_orchestration_tests.unit.fake_zerodb import KEY, FakeZeroDB, Fault, cut, status

ITEMS = "content_items"
RIGHT = {"id": "a.v1", "body": "right", "body_sha256": "1" * 64}


@pytest.fixture
def server() -> FakeZeroDB:
    return FakeZeroDB()


def client(server: FakeZeroDB, **changes: Any) -> ZeroDBClient:
    values: dict[str, Any] = {"wait_initial": 0.0, "wait_max": 0.0, "attempts": 3} | changes
    return ZeroDBClient("http://zerodb.test:9070/api/v1", "p1", KEY, transport=server.transport(), **values)


def test_replace_is_one_request_for_every_copy_and_keeps_other_fields(server: FakeZeroDB) -> None:
    wrong = {"id": "a.v1", "body": "wrong", "body_sha256": "0" * 64, "title": "kept"}
    server.tables[ITEMS] = [dict(wrong), dict(wrong), {"id": "b.v1", "body": "other"}]
    assert client(server).replace(ITEMS, RIGHT) == 2
    assert server.tables[ITEMS] == [RIGHT | {"title": "kept"}] * 2 + [{"id": "b.v1", "body": "other"}]
    assert [what for what, _, _ in server.requests] == ["PUT rows"]
    assert client(server).replace(ITEMS, RIGHT | {"id": "absent"}) == 0


@pytest.mark.parametrize("fault", [cut(httpx.ReadTimeout), status(503), cut(httpx.ConnectError)])
@pytest.mark.parametrize("after", [False, True])
def test_replace_may_be_repeated(server: FakeZeroDB, fault: Fault, after: bool) -> None:
    server.tables[ITEMS] = [RIGHT | {"body": "wrong"}]
    server.fail("PUT rows", fault, after=after)
    assert client(server).replace(ITEMS, RIGHT) == 1
    assert server.tables[ITEMS] == [RIGHT]


def test_an_answer_without_the_optional_count_is_understood(server: FakeZeroDB) -> None:
    server.fail("PUT rows", lambda request: httpx.Response(200, json={"modified_count": 3}))
    assert client(server).replace(ITEMS, RIGHT) == 3


def test_one_copy_is_left_and_it_is_marked(server: FakeZeroDB) -> None:
    server.tables[ITEMS] = [dict(RIGHT), dict(RIGHT), dict(RIGHT), {"id": "b.v1"}]
    assert client(server).reduce_copies(ITEMS, RIGHT, "run 1") == 3
    assert sorted(map(str, server.tables[ITEMS])) == sorted(map(str, [{"id": "b.v1"}, RIGHT | {MARK: "run 1"}]))


FAULTS: list[tuple[str, Fault, bool]] = [
    (what, fault, after)
    for what in ("PUT rows", "DELETE rows", "POST query")
    for fault in (cut(httpx.ReadTimeout), status(503))
    for after in (False, True)
]


@pytest.mark.parametrize(("what", "fault", "after"), FAULTS)
def test_whatever_answer_is_lost_exactly_one_copy_is_left(
    server: FakeZeroDB, what: str, fault: Fault, after: bool
) -> None:
    server.tables[ITEMS] = [dict(RIGHT), dict(RIGHT)]
    server.fail(what, fault, after=after)
    client(server).reduce_copies(ITEMS, RIGHT, "run 1")
    assert server.tables[ITEMS] == [RIGHT | {MARK: "run 1"}]


@pytest.mark.parametrize("what", ["PUT rows", "DELETE rows"])
@pytest.mark.parametrize("after", [False, True])
def test_a_run_that_ends_midway_leaves_a_right_copy_and_the_next_goes_on(
    server: FakeZeroDB, what: str, after: bool
) -> None:
    server.tables[ITEMS] = [dict(RIGHT), dict(RIGHT)]
    server.fail(what, status(503), after=after)
    with pytest.raises(Transient):
        client(server, attempts=1).reduce_copies(ITEMS, RIGHT, "run 1")
    assert RIGHT in [{k: v for k, v in row.items() if k != MARK} for row in server.tables[ITEMS]]
    client(server).reduce_copies(ITEMS, RIGHT, "run 2")
    assert server.tables[ITEMS] == [RIGHT | {MARK: "run 2"}]


def test_a_deletion_that_the_server_does_late_takes_no_marked_copy(server: FakeZeroDB) -> None:
    """The first run's DELETE times out and is executed after a second run has chosen its own copy."""
    server.tables[ITEMS] = [dict(RIGHT), dict(RIGHT)]
    late: list[httpx.Request] = []

    def hold(request: httpx.Request) -> httpx.Response:
        late.append(request)
        return httpx.Response(503)

    server.fail("DELETE rows", hold)
    with pytest.raises(Transient):
        client(server, attempts=1).reduce_copies(ITEMS, RIGHT, "run 1")
    client(server).reduce_copies(ITEMS, RIGHT, "run 2")
    assert server.tables[ITEMS] == [RIGHT | {MARK: "run 2"}]
    server.handle(late[0])
    assert server.tables[ITEMS] == [RIGHT | {MARK: "run 2"}]


def test_nothing_is_deleted_where_the_marked_copy_is_not_seen(server: FakeZeroDB) -> None:
    server.tables[ITEMS] = [dict(RIGHT), dict(RIGHT)]
    server.fail("PUT rows", lambda request: httpx.Response(200, json={"matched_count": 0, "modified_count": 0}))
    with pytest.raises(Transient, match=r"the marked copy of 'a\.v1' in content_items is not there yet"):
        client(server).reduce_copies(ITEMS, RIGHT, "run 1")
    assert server.tables[ITEMS] == [RIGHT, RIGHT]
    assert server.asked("DELETE rows") == []
