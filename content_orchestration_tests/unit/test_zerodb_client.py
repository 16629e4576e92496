"""The client against an in-memory server: what it asks for, what it retries, what it refuses."""

import json
import logging
import random
import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from content_orchestration.core.documents import DocumentConflict, DocumentStore, InvalidDocument, PutReport
from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.resources import zerodb_json, zerodb_wire
from content_orchestration.resources.zerodb_client import ZeroDBClient
from content_orchestration_tests.unit.fake_zerodb import KEY, FakeZeroDB, Fault, cut, status

ITEMS = "content_items"
BASE = "http://zerodb.test:9070/api/v1"
_NOT_SENT = [httpx.ConnectError, httpx.ConnectTimeout]
_CUT = [
    httpx.ReadTimeout,
    httpx.WriteTimeout,
    httpx.ReadError,
    httpx.WriteError,
    httpx.CloseError,
    httpx.RemoteProtocolError,
]


def _client(server: FakeZeroDB, **changes: Any) -> ZeroDBClient:
    values: dict[str, Any] = {"wait_initial": 0.0, "wait_max": 0.0, "attempts": 5, "concurrency": 4} | changes
    return ZeroDBClient(BASE, "p1", values.pop("api_key", KEY), transport=server.transport(), **values)


def _doc(number: int, **more: Any) -> dict[str, Any]:
    return {"id": f"{number:05}.v1", "body_sha256": f"{number:064x}", "body": f"text {number}"} | more


@pytest.fixture
def server() -> FakeZeroDB:
    return FakeZeroDB()


@pytest.fixture
def sleeps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The back-offs taken, none of them slept."""
    taken: list[float] = []
    monkeypatch.setattr("tenacity.nap.time.sleep", taken.append)
    return taken


def test_it_is_a_document_store_and_connects_only_when_called(server: FakeZeroDB) -> None:
    store: DocumentStore = _client(server)
    assert server.requests == []
    assert store.collections() == {ITEMS: 0}
    assert store.ping() >= 0


def test_put_inserts_what_is_missing_and_repeating_it_inserts_nothing(server: FakeZeroDB) -> None:
    documents = [_doc(n) for n in range(2500)]
    with _client(server) as client:
        first = client.put_many(ITEMS, documents[:1500])
        second = client.put_many(ITEMS, iter(documents))
        third = client.put_many(ITEMS, documents)
    assert (first.inserted, first.existing, first.resent) == (1500, 0, 0)
    assert (second.inserted, second.existing) == (1000, 1500)
    assert third == PutReport(inserted=0, existing=2500, requests=3)
    assert first.requests + second.requests + third.requests == len(server.requests)
    assert sorted(row["id"] for row in server.tables[ITEMS]) == [doc["id"] for doc in documents]


def test_put_of_nothing_asks_nothing(server: FakeZeroDB) -> None:
    assert _client(server).put_many(ITEMS, []) == PutReport(0, 0, 0)
    assert server.requests == []


def test_the_lookup_asks_for_ids_and_hashes_only(server: FakeZeroDB) -> None:
    _client(server).put_many(ITEMS, [_doc(1)])
    assert server.asked("POST query")[0]["projection"] == {"id": 1, "body_sha256": 1}


@pytest.mark.parametrize("error", _NOT_SENT + _CUT)
def test_a_failure_before_the_write_loses_nothing(server: FakeZeroDB, error: type[httpx.TransportError]) -> None:
    server.fail("POST rows", cut(error))
    report = _client(server).put_many(ITEMS, [_doc(n) for n in range(10)])
    assert Counter(row["id"] for row in server.tables[ITEMS]) == Counter(_doc(n)["id"] for n in range(10))
    assert report.inserted == 10
    # Only a request that may have arrived is looked up again, and only then can a late write double it.
    assert len(server.asked("POST query")) == (1 if error in _NOT_SENT else 2)
    assert report.resent == (0 if error in _NOT_SENT else 10)


@pytest.mark.parametrize("fault", [*[cut(error) for error in _CUT], *[status(code) for code in (500, 502, 503, 504)]])
def test_a_failure_after_the_write_inserts_nothing_twice(server: FakeZeroDB, fault: Fault) -> None:
    server.fail("POST rows", fault, after=True)
    report = _client(server).put_many(ITEMS, [_doc(n) for n in range(10)])
    assert (report.inserted, report.existing, report.requests, report.resent) == (10, 0, 3, 0)
    assert len(server.tables[ITEMS]) == 10


@pytest.mark.parametrize("fault", [cut(error) for error in _CUT])
def test_new_ids_are_looked_for_only_after_a_lost_answer(server: FakeZeroDB, fault: Fault) -> None:
    _client(server).put_many(ITEMS, [_doc(n) for n in range(10)], new=True)
    assert server.asked("POST query") == []
    server.fail("POST rows", fault, after=True)
    report = _client(server).put_many(ITEMS, [_doc(n) for n in range(10, 20)], new=True)
    assert (report.inserted, report.resent, len(server.asked("POST query"))) == (10, 0, 1)
    assert len(server.tables[ITEMS]) == 20


def test_the_second_lookup_may_fail_too(server: FakeZeroDB) -> None:
    server.fail("POST rows", cut(httpx.ReadTimeout), after=True)
    client = _client(server)
    client.count(ITEMS)
    server.fail("POST query", lambda request: None, status(503), cut(httpx.ReadError))
    client.put_many(ITEMS, [_doc(n) for n in range(10)])
    assert len(server.tables[ITEMS]) == 10
    assert len(server.asked("POST rows")) == 1


def test_part_of_an_insert_is_completed(server: FakeZeroDB) -> None:
    """The contract says all or none; an answer that counts fewer is believed by looking, not by trusting it."""

    def half(request: httpx.Request) -> httpx.Response:
        rows = json.loads(request.content)["rows"]
        server.tables[ITEMS].extend(rows[:4])
        return httpx.Response(200, json={"inserted_count": 4})

    server.fail("POST rows", half)
    report = _client(server).put_many(ITEMS, [_doc(n) for n in range(10)])
    assert (report.inserted, report.resent) == (10, 6)
    assert sorted(row["id"] for row in server.tables[ITEMS]) == [_doc(n)["id"] for n in range(10)]


@pytest.mark.parametrize("seed", range(40))
def test_random_faults_never_double_and_never_lose(seed: int) -> None:
    rng = random.Random(seed)  # the seed is in the test's name
    server = FakeZeroDB()
    faults: list[Callable[[], Fault]] = [
        lambda: status(429, Retry_After="0"),
        lambda: status(rng.choice([500, 502, 503, 504])),
        lambda: cut(rng.choice(_NOT_SENT + _CUT)),
    ]
    lost: list[Callable[[], Fault]] = [lambda: cut(rng.choice(_CUT)), lambda: status(503)]
    for _ in range(rng.randrange(12)):
        server.fail(rng.choice(["POST rows", "POST query"]), rng.choice(faults)())
        server.fail("POST rows", rng.choice(lost)(), after=True)
    documents = [_doc(n) for n in range(3000)]
    server.tables[ITEMS].extend(rng.sample(documents, 700))
    with _client(server, attempts=100) as client:
        report = client.put_many(ITEMS, documents)
        found = client.get_many(ITEMS, [doc["id"] for doc in documents])
    assert (report.inserted, report.existing) == (2300, 700)
    assert Counter(row["id"] for row in server.tables[ITEMS]) == Counter(doc["id"] for doc in documents)
    assert found == {doc["id"]: doc for doc in documents}


def test_another_body_under_a_stored_id_is_a_conflict_and_nothing_is_written(server: FakeZeroDB) -> None:
    server.tables[ITEMS].extend([_doc(1), _doc(2)])
    with pytest.raises(DocumentConflict) as raised:
        _client(server).put_many(ITEMS, [_doc(0), _doc(1, body_sha256="f" * 64), _doc(2)])
    assert raised.value.ids == ("00001.v1",)
    assert "00001.v1" in str(raised.value)
    assert server.tables[ITEMS] == [_doc(1), _doc(2)]


def test_a_conflict_that_appears_during_the_put_is_seen_after_a_lost_answer(server: FakeZeroDB) -> None:
    def overtaken(request: httpx.Request) -> httpx.Response:
        server.tables[ITEMS].append(_doc(1, body_sha256="f" * 64))
        raise httpx.ReadTimeout("", request=request)

    server.fail("POST rows", overtaken)
    with pytest.raises(DocumentConflict):
        _client(server).put_many(ITEMS, [_doc(1)])
    assert len(server.tables[ITEMS]) == 1


def test_the_same_document_twice_in_one_call_is_stored_once(server: FakeZeroDB) -> None:
    twice = [_doc(1, meta={"a": 1, "b": 2}), _doc(1, meta={"b": 2, "a": 1})]
    assert _client(server).put_many(ITEMS, twice).inserted == 1
    assert len(server.tables[ITEMS]) == 1


@pytest.mark.parametrize("other", [_doc(1, body="else"), _doc(1, n=1.0), _doc(1, n=True), _doc(1)])
def test_different_documents_with_one_id_in_one_call_are_refused(server: FakeZeroDB, other: dict[str, Any]) -> None:
    with pytest.raises(InvalidDocument, match=r"00001\.v1"):
        _client(server).put_many(ITEMS, [_doc(1, n=1), other])
    assert server.tables[ITEMS] == []


@pytest.mark.parametrize("key", [None, "", 5, ["a"]])
def test_a_document_needs_a_text_id(server: FakeZeroDB, key: object) -> None:
    with pytest.raises(InvalidDocument, match="id"):
        _client(server).put_many(ITEMS, [{"id": key}])


def test_requests_are_bounded_by_bytes_and_one_large_document_goes_alone(
    server: FakeZeroDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zerodb_wire, "MAX_REQUEST_BYTES", 10_000)
    documents = [_doc(n, body="x" * 900) for n in range(30)]
    documents[7]["body"] = "y" * 50_000
    _client(server).put_many(ITEMS, documents)
    inserts = server.asked("POST rows")
    assert [len(body["rows"]) for body in inserts if any(row["id"] == "00007.v1" for row in body["rows"])] == [1]
    assert max(len(json.dumps(body)) for body in inserts if len(body["rows"]) > 1) < 12_000
    assert len(server.tables[ITEMS]) == 30


@pytest.mark.parametrize("envelope", [False, True])
def test_get_accepts_both_shapes_and_leaves_out_what_is_absent(server: FakeZeroDB, envelope: bool) -> None:
    server.envelope = envelope
    server.tables[ITEMS].extend(_doc(n) for n in range(950))
    ids = [f"{n:05}.v1" for n in range(1000)]
    found = _client(server).get_many(ITEMS, ids * 2, chunk=100)
    assert found == {f"{n:05}.v1": _doc(n) for n in range(950)}
    assert len(server.requests) == 10
    assert _client(server).put_many(ITEMS, [_doc(n) for n in range(1000)]).existing == 950


def test_a_plain_document_may_have_fields_of_the_envelope(server: FakeZeroDB) -> None:
    document = _doc(1, row_id="mine", row_data={"id": "other"})
    server.tables[ITEMS].append(document)
    assert _client(server).get_many(ITEMS, [document["id"]]) == {document["id"]: document}


def test_get_finds_every_document_among_duplicates(server: FakeZeroDB) -> None:
    server.tables[ITEMS].extend([_doc(1)] * 1500 + [_doc(2), _doc(3)])
    client = _client(server)
    assert client.get_many(ITEMS, ["00001.v1", "00002.v1", "00003.v1"]) == {_doc(n)["id"]: _doc(n) for n in (1, 2, 3)}
    assert client.put_many(ITEMS, [_doc(1), _doc(2), _doc(3)]).existing == 3


def test_of_differing_duplicates_every_order_of_answers_gives_the_same_one() -> None:
    rows = [_doc(1, body_sha256="b"), _doc(1, body_sha256="a"), _doc(1, body_sha256="c")]
    for turn in range(3):
        server = FakeZeroDB(tables={ITEMS: rows[turn:] + rows[:turn]})
        assert _client(server).get_many(ITEMS, ["00001.v1"])["00001.v1"]["body_sha256"] == "a"


@pytest.mark.parametrize("chunk", [0, 1001])
def test_a_chunk_that_cannot_be_asked_for_is_refused(server: FakeZeroDB, chunk: int) -> None:
    with pytest.raises(Permanent, match="chunk"):
        _client(server).get_many(ITEMS, ["a"], chunk=chunk)


def test_an_answer_that_is_too_large_is_asked_for_in_parts(server: FakeZeroDB) -> None:
    server.tables[ITEMS].extend(_doc(n, body="x" * (40_000 if n == 3 else 1000)) for n in range(60))
    client = _client(server, max_answer_bytes=20_000)
    ids = [f"{n:05}.v1" for n in range(60)]
    assert client.get_many(ITEMS, ids) == {doc["id"]: doc for doc in server.tables[ITEMS]}
    assert [doc["id"] for doc in client.scan(ITEMS)] == ids


def test_no_more_requests_run_at_once_than_allowed() -> None:
    server = FakeZeroDB()
    running, most = 0, 0
    both, lock = threading.Barrier(3), threading.Lock()

    def handle(request: httpx.Request) -> httpx.Response:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        # All three threads must be here at once for any of them to go on.
        both.wait(timeout=10)
        with lock:
            running -= 1
        return server.handle(request)

    client = ZeroDBClient(BASE, "p1", KEY, concurrency=3, transport=httpx.MockTransport(handle))
    client.get_many(ITEMS, [str(n) for n in range(12)], chunk=1)
    client.close()
    assert most == 3


def test_after_an_error_no_request_begins_and_none_is_left_running() -> None:
    asked: list[str] = []
    finished: list[str] = []
    second_runs = threading.Event()

    def handle(request: httpx.Request) -> httpx.Response:
        (key,) = json.loads(request.content)["filter"]["id"]["$in"]
        asked.append(key)
        if key == "0":
            second_runs.wait(10)
            return httpx.Response(422)
        second_runs.set()
        threading.Event().wait(0.3)
        finished.append(key)
        return httpx.Response(200, json={"rows": [], "total": 0})

    client = ZeroDBClient(BASE, "p1", KEY, concurrency=2, transport=httpx.MockTransport(handle))
    with pytest.raises(Permanent):
        client.get_many(ITEMS, [str(n) for n in range(100)], chunk=1)
    assert "1" in finished
    assert set(asked) - {"0"} == set(finished)
    assert "3" not in asked
    client.close()


@pytest.mark.parametrize("page", [1, 2, 3, 5, 1000])
def test_scan_sees_each_row_once_with_duplicates_at_the_border_of_a_page(server: FakeZeroDB, page: int) -> None:
    numbers = [0, 1, 1, 2, 2, 2, 3, 4, 4, 4, 4, 4, 5]
    rows = [_doc(n) for n in numbers]
    random.Random(page).shuffle(rows)
    server.tables[ITEMS].extend(rows)
    client = _client(server)
    assert [doc["id"] for doc in client.scan(ITEMS, page=page)] == [_doc(n)["id"] for n in numbers]
    assert [doc["id"] for doc in client.scan(ITEMS, page=page, after="00002.v1")] == [
        _doc(n)["id"] for n in numbers if n > 2
    ]


def test_scan_filters_projects_and_counts(server: FakeZeroDB) -> None:
    server.tables[ITEMS].extend(_doc(n, tenant_id="t" if n % 2 else "u") for n in range(50))
    client = _client(server)
    found = list(client.scan(ITEMS, where={"tenant_id": "t"}, fields=["body_sha256"], page=4))
    assert found == [{"id": _doc(n)["id"], "body_sha256": _doc(n)["body_sha256"]} for n in range(50) if n % 2]
    assert client.count(ITEMS, {"tenant_id": "t"}) == 25
    assert client.count(ITEMS) == 50


def test_scan_stops_where_the_server_ignores_the_filter() -> None:
    def same_page(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"rows": [_doc(1), _doc(2), _doc(3)], "total": 3})

    client = ZeroDBClient(BASE, "p1", KEY, transport=httpx.MockTransport(same_page))
    with pytest.raises(Permanent, match="ignores the filter"):
        list(client.scan(ITEMS, page=3))


def test_delete_takes_only_these_ids(server: FakeZeroDB) -> None:
    server.tables[ITEMS].extend([*(_doc(n) for n in range(1200)), _doc(0)])
    assert _client(server).delete_many(ITEMS, [_doc(n)["id"] for n in range(1100)]) == 1101
    assert len(server.tables[ITEMS]) == 100


def test_ensure_collection_says_whether_it_created(server: FakeZeroDB) -> None:
    client = _client(server)
    assert client.ensure_collection("content_versions", ["id"]) is True
    assert client.ensure_collection("content_versions", ["id"]) is False
    assert server.asked("POST tables")[0] == {"table_name": "content_versions", "schema": {}, "indexes": ["id"]}


def test_a_part_of_the_collections_is_not_taken_for_all(server: FakeZeroDB) -> None:
    server.fail("GET tables", lambda request: httpx.Response(200, json={"tables": [], "total": 3}))
    with pytest.raises(Permanent, match="part"):
        _client(server).collections()


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
def test_named_statuses_are_retried_until_the_attempts_run_out(server: FakeZeroDB, code: int) -> None:
    server.fail("POST query", *[status(code)] * 5)
    with pytest.raises(Transient) as raised:
        _client(server).count(ITEMS)
    text = str(raised.value)
    assert "zerodb.test:9070" in text
    assert "count in content_items" in text
    assert f"{code}" in text
    assert "5 times" in text
    assert _client(server).count(ITEMS) == 0


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (400, "API_BASE_URL"),
        (401, "ZERODB_API_KEY"),
        (403, "ZERODB_API_KEY"),
        (404, "zerodb_collections"),
        (409, "API_BASE_URL"),
        (301, "API_BASE_URL"),
        (422, "malformed"),
    ],
)
def test_other_statuses_are_permanent_at_once_with_the_way_out(server: FakeZeroDB, code: int, advice: str) -> None:
    server.fail("POST query", status(code))
    with pytest.raises(Permanent, match=advice) as raised:
        _client(server).count(ITEMS)
    assert "on purpose" in str(raised.value)
    assert len(server.requests) == 1


def test_an_answer_that_is_not_ours_is_permanent(server: FakeZeroDB) -> None:
    for body in ("<html>", "[]", ""):
        server.fail("POST query", lambda request, body=body: httpx.Response(200, text=body))
        with pytest.raises(Permanent, match="API_BASE_URL"):
            _client(server).count(ITEMS)


def test_an_error_of_the_http_library_that_is_not_named_is_permanent(server: FakeZeroDB) -> None:
    server.fail("POST query", cut(httpx.UnsupportedProtocol))
    with pytest.raises(Permanent, match="UnsupportedProtocol"):
        _client(server).count(ITEMS)
    assert len(server.requests) == 1


def test_waits_grow_and_carry_jitter(server: FakeZeroDB, sleeps: list[float]) -> None:
    server.fail("POST query", *[status(503)] * 5)
    _client(server, attempts=6, wait_initial=0.2, wait_max=1.5).count(ITEMS)
    for number, taken in enumerate(sleeps[:3]):
        assert 0.2 * 2**number <= taken <= 0.2 * 2**number + 0.2
    assert sleeps[4] == 1.5


def test_retry_after_is_honoured_as_number_and_as_date(server: FakeZeroDB, sleeps: list[float]) -> None:
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=40), usegmt=True)
    server.fail(
        "POST query", status(429, Retry_After="7"), status(503, Retry_After=moment), status(429, Retry_After="x")
    )
    _client(server, wait_initial=0.1, wait_max=0.3).count(ITEMS)
    assert 7.0 <= sleeps[0] <= 7.1
    assert 35.0 <= sleeps[1] <= 40.1
    assert sleeps[2] <= 0.5


def test_a_retry_after_beyond_the_budget_is_handed_to_the_caller(server: FakeZeroDB, sleeps: list[float]) -> None:
    server.fail("POST query", status(429, Retry_After="3600"))
    with pytest.raises(Transient) as raised:
        _client(server, total_timeout=60).count(ITEMS)
    assert raised.value.retry_after == 3600
    assert sleeps == []


def test_no_attempt_begins_after_the_total_timeout(server: FakeZeroDB, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("tenacity.time.monotonic", lambda: now[0])

    def slow(request: httpx.Request) -> httpx.Response:
        now[0] += 25
        return httpx.Response(503)

    server.fail("POST query", *[slow] * 10)
    with pytest.raises(Transient, match="3 times"):
        _client(server, attempts=100, total_timeout=60).count(ITEMS)


def test_an_answer_that_drips_is_given_up(server: FakeZeroDB, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("content_orchestration.resources.zerodb_http.time.monotonic", lambda: now[0])

    class Drip(httpx.SyncByteStream):
        def __iter__(self) -> Any:
            while True:
                now[0] += 20
                yield b" "

    server.fail("POST query", *[lambda request: httpx.Response(200, stream=Drip())] * 2)
    with pytest.raises(Transient, match="not complete after 30 s"):
        _client(server, attempts=2, total_timeout=1e9).count(ITEMS)


def test_ping_tries_once(server: FakeZeroDB) -> None:
    server.fail("GET health", status(503))
    client = _client(server)
    with pytest.raises(Transient, match="does not answer"):
        client.ping()
    assert client.ping() >= 0


def test_the_key_is_in_no_message_repr_or_log(server: FakeZeroDB, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    key = "another-key-91c2"

    def quoting(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadError(f"header was {request.headers['X-API-Key']}", request=request)

    server.fail("POST query", quoting, quoting)
    client = _client(server, api_key=key, attempts=2)
    with pytest.raises(Transient) as busy:
        client.count(ITEMS)
    with pytest.raises(Permanent) as refused:
        client.count(ITEMS)
    assert "bad key ***" in str(refused.value)
    assert "attempt 1 failed" in caplog.text
    for text in (str(busy.value), repr(busy.value), str(refused.value), repr(client), caplog.text):
        assert key not in text


@pytest.mark.parametrize("key", ["", "two words", "line\n", "café"])
def test_a_malformed_key_is_refused_without_being_shown(server: FakeZeroDB, key: str) -> None:
    with pytest.raises(Permanent, match="ZERODB_API_KEY") as raised:
        _client(server, api_key=key)
    assert not key or key not in str(raised.value)


@pytest.mark.parametrize("url", ["", "zerodb/api", "ftp://host/x", "http://user:pw@host/api", "http://[::1/api"])
def test_a_base_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(Permanent, match="API_BASE_URL") as raised:
        ZeroDBClient(url, "p1", KEY)
    assert "pw" not in str(raised.value)


def test_a_closed_client_opens_again(server: FakeZeroDB) -> None:
    client = _client(server)
    client.put_many(ITEMS, [_doc(1)])
    client.close()
    client.close()
    assert client.get_many(ITEMS, ["00001.v1"]) == {"00001.v1": _doc(1)}


_HARD_VALUES = [2**63, 2**64 - 1, 2**64, -(2**63) - 1, 10**300, 0.1, 1e22, -0.0, True, None, "1234567890123456789012"]


@pytest.mark.parametrize(
    "value", [*_HARD_VALUES, " 1234567890123456789012", ": 99999999999999999999", "\U0001f600\u0000"]
)
def test_json_keeps_values(value: object) -> None:
    document = {"id": "a", "list": [value, {"deep": value}], "value": value}
    again = zerodb_json.decode(zerodb_json.encode(document, "it"))
    assert again == document
    assert repr(again) == repr(document)


def test_json_keeps_deep_nesting() -> None:
    value: list[Any] = []
    for _ in range(600):
        value = [value]
    assert zerodb_json.decode(zerodb_json.encode(value, "it")) == value


def test_json_reads_what_python_wrote_elsewhere() -> None:
    assert zerodb_json.decode(rb'{"a":"\ud800"}') == {"a": "\ud800"}
    with pytest.raises(ValueError, match="Expecting"):
        zerodb_json.decode(b"{")


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        ({"deep": [float("inf")], "big": 2**70}, "JSON"),
        ("\ud83d", "ud83d"),
        ({1: 2}, "not text"),
        ({1: 2**70}, "not text"),
        ({"a", "b"}, "set"),
        (datetime.now(UTC), "datetime"),
        pytest.param(10**5000, "JSON", id="5001 digits"),
    ],
)
def test_what_json_would_change_is_refused_with_the_id(server: FakeZeroDB, value: object, named: str) -> None:
    with pytest.raises(InvalidDocument, match=named) as raised:
        _client(server).put_many(ITEMS, [_doc(1, value=value)])
    assert "00001.v1" in str(raised.value)
    assert server.tables[ITEMS] == []


def test_a_cycle_is_refused(server: FakeZeroDB) -> None:
    loop: dict[str, Any] = _doc(1)
    loop["self"] = loop
    with pytest.raises(InvalidDocument, match=r"00001\.v1"):
        _client(server).put_many(ITEMS, [loop])
