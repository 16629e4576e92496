"""The client against the real local server: over a real connection, with the server's own faults."""

import logging
import random
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import pytest

from content_orchestration.core.documents import DocumentConflict
from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.resources.zerodb_client import ZeroDBClient
from content_orchestration_tests.integration.zerodb_process import KEY, ZeroDBProcess

ITEMS = "content_items"
_ROWS = "POST /projects/{project_id}/database/tables/{table}/rows"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZeroDBProcess]:
    process = ZeroDBProcess(tmp_path_factory.mktemp("zerodb") / "zerodb.sqlite3").start()
    yield process
    process.stop()


@pytest.fixture(params=["document", "envelope"])
def style(request: pytest.FixtureRequest, server: ZeroDBProcess) -> Iterator[str]:
    server.client.put("/_control/style", json={"row_style": request.param}).raise_for_status()
    yield request.param
    server.client.put("/_control/style", json={"row_style": "document"}).raise_for_status()


@pytest.fixture
def project(server: ZeroDBProcess) -> Iterator[str]:
    yield f"p {uuid.uuid4()}/ü"
    server.client.delete("/_control/faults").raise_for_status()


def _client(server: ZeroDBProcess, project: str, **changes: Any) -> ZeroDBClient:
    values: dict[str, Any] = {"wait_initial": 0.01, "wait_max": 0.02, "attempts": 40, "api_key": KEY} | changes
    return ZeroDBClient(f"{server.root}/api/v1", project, values.pop("api_key"), **values)


@pytest.fixture
def client(server: ZeroDBProcess, project: str) -> Iterator[ZeroDBClient]:
    with _client(server, project) as opened:
        opened.ensure_collection(ITEMS, ["id", "tenant_id"])
        server.client.delete("/_control/stats").raise_for_status()
        yield opened


def _fault(server: ZeroDBProcess, kind: str, **more: Any) -> None:
    server.client.post("/_control/faults", json={"kind": kind, **more}).raise_for_status()


def _stats(server: ZeroDBProcess) -> dict[str, Any]:
    found: dict[str, Any] = server.client.get("/_control/stats").raise_for_status().json()
    return found


def _doc(number: int, **more: Any) -> dict[str, Any]:
    return {"id": f"{number:05}.v1", "body_sha256": f"{number:064x}", "body": f"text {number}"} | more


def _stored(client: ZeroDBClient) -> Counter[str]:
    return Counter(doc["id"] for doc in client.scan(ITEMS, fields=["id"]))


@pytest.mark.usefixtures("style")
def test_every_operation_in_both_shapes_of_a_row(client: ZeroDBClient) -> None:
    documents = [_doc(n, tenant_id=f"t{n % 3}") for n in range(2300)]
    first, second = client.put_many(ITEMS, documents[:1000]), client.put_many(ITEMS, documents)
    assert (first.inserted, second.inserted, second.existing) == (1000, 1300, 1000)
    assert client.put_many(ITEMS, documents).inserted == 0
    assert client.collections() == {ITEMS: 2300}
    assert client.get_many(ITEMS, [doc["id"] for doc in documents] + ["absent"]) == {d["id"]: d for d in documents}
    assert list(client.scan(ITEMS, page=700)) == documents
    assert list(client.scan(ITEMS, where={"tenant_id": "t1"}, after="00100.v1", page=100)) == [
        doc for doc in documents[101:] if doc["tenant_id"] == "t1"
    ]
    assert next(client.scan(ITEMS, fields=["tenant_id"])) == {"id": "00000.v1", "tenant_id": "t0"}
    assert client.count(ITEMS) == 2300
    assert client.count(ITEMS, {"tenant_id": "t2"}) == 766
    assert client.delete_many(ITEMS, [doc["id"] for doc in documents[:1200]] + ["absent"]) == 1200
    assert client.count(ITEMS) == 1100
    assert client.ping() < 10


def test_a_conflict_is_refused(client: ZeroDBClient) -> None:
    client.put_many(ITEMS, [_doc(1)])
    with pytest.raises(DocumentConflict):
        client.put_many(ITEMS, [_doc(0), _doc(1, body_sha256="f" * 64)])
    assert client.get_many(ITEMS, ["00000.v1", "00001.v1"]) == {"00001.v1": _doc(1)}


def test_of_many_creators_one_created(client: ZeroDBClient) -> None:
    begin = threading.Barrier(8)

    def create(_: int) -> bool:
        begin.wait(timeout=20)
        return client.ensure_collection("content_versions", ["id"])

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(create, range(8))) == [False] * 7 + [True]
    assert client.collections() == {ITEMS: 0, "content_versions": 0}


@pytest.mark.parametrize("kind", ["rate_limit", "error", "error_after", "cut_before", "cut_after", "slow"])
def test_a_fault_on_insert_neither_doubles_nor_loses(server: ZeroDBProcess, project: str, kind: str) -> None:
    with _client(server, project, timeout=0.5) as client:
        client.ensure_collection(ITEMS, [])
        _fault(server, kind, count=2, method="POST", path_part="/rows", retry_after=0, seconds=1.5)
        report = client.put_many(ITEMS, [_doc(n) for n in range(1500)])
        assert report.inserted == 1500
        assert set(_stored(client).items()) == {(_doc(n)["id"], 1) for n in range(1500)}
    fired = server.client.get("/_control/faults").json()["faults"][0]["fired"]
    assert fired == 2
    # Where nothing was written the ids are sent again; where it was written they are found.
    assert (report.resent > 0) == (kind in {"error", "cut_before"})


@pytest.mark.parametrize("seed", range(6))
def test_faults_everywhere_neither_double_nor_lose(server: ZeroDBProcess, client: ZeroDBClient, seed: int) -> None:
    rng = random.Random(seed)  # the seed is in the test's name
    documents = [_doc(n, body="x" * rng.randrange(2000)) for n in range(4000)]
    client.put_many(ITEMS, rng.sample(documents, 1000))
    for kind in ("rate_limit", "error", "error_after", "cut_before", "cut_after"):
        _fault(
            server, kind, probability=0.08, seed=rng.randrange(2**31), retry_after=0, status=rng.choice([500, 502, 503])
        )
    report = client.put_many(ITEMS, documents)
    assert (report.inserted, report.existing) == (3000, 1000)
    assert client.get_many(ITEMS, [doc["id"] for doc in documents], chunk=50) == {doc["id"]: doc for doc in documents}
    assert list(client.scan(ITEMS, page=90)) == documents
    server.client.delete("/_control/faults").raise_for_status()
    assert set(_stored(client).values()) == {1}


def test_a_killed_server_that_comes_back_has_every_document_once(
    server: ZeroDBProcess, client: ZeroDBClient, project: str
) -> None:
    documents = [_doc(n, body="x" * 2000) for n in range(20_000)]
    with _client(server, project, attempts=500, wait_max=0.05, concurrency=2) as slow_client:
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(slow_client.put_many, ITEMS, documents)
            while client.count(ITEMS) == 0:
                assert not running.done()
            assert not running.done(), "the server must be killed in the middle"
            server.stop(kill=True)
            server.start()
            report = running.result(timeout=120)
        assert report.inserted == 20_000
        assert set(_stored(slow_client).items()) == {(doc["id"], 1) for doc in documents}


def test_a_server_that_is_gone_is_transient_and_named(tmp_path_factory: pytest.TempPathFactory) -> None:
    gone = ZeroDBProcess(tmp_path_factory.mktemp("gone") / "zerodb.sqlite3").start()
    gone.stop(kill=True)
    with _client(gone, "p", attempts=3) as client:
        with pytest.raises(
            Transient, match=rf"127\.0\.0\.1:{gone.port}: list of collections failed 3 times.*ConnectError"
        ):
            client.collections()
        with pytest.raises(Transient, match="does not answer"):
            client.ping()


def test_retry_after_is_waited_for(server: ZeroDBProcess, client: ZeroDBClient) -> None:
    _fault(server, "rate_limit", retry_after=1)
    taken: list[float] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tenacity.nap.time.sleep", taken.append)
        assert client.count(ITEMS) == 0
    assert 1.0 <= taken[0] <= 1.02


def test_wrong_key_and_missing_table_say_what_to_do(
    server: ZeroDBProcess, client: ZeroDBClient, project: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = "wrong-key-44d0"
    with _client(server, project, api_key=wrong) as other, pytest.raises(Permanent, match="ZERODB_API_KEY") as refused:
        other.collections()
    with pytest.raises(Permanent, match="zerodb_collections"):
        client.get_many("absent", ["a"])
    assert "httpcore" in caplog.text, "the HTTP library must have logged for this test to mean something"
    assert wrong not in caplog.text + str(refused.value)
    assert KEY not in caplog.text


def test_two_writers_of_the_same_documents_both_succeed(
    server: ZeroDBProcess, client: ZeroDBClient, project: str
) -> None:
    """New ids that both put at the same instant may be doubled (the window `put_many` documents), never lost."""
    documents = [_doc(n) for n in range(3000)]
    with _client(server, project) as other, ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(lambda store: store.put_many(ITEMS, documents), (client, other)))
    assert all(report.inserted + report.existing == 3000 for report in reports)
    assert client.get_many(ITEMS, [doc["id"] for doc in documents]) == {doc["id"]: doc for doc in documents}
    assert client.put_many(ITEMS, documents).existing == 3000
    assert set(_stored(client).values()) <= {1, 2}


def test_duplicates_are_shown_by_scan_and_collapse_in_get(
    server: ZeroDBProcess, client: ZeroDBClient, project: str
) -> None:
    client.put_many(ITEMS, [_doc(n) for n in range(10)])
    path = f"/api/v1/projects/{quote(project, safe='')}/database/tables/{ITEMS}/rows"
    server.client.post(path, json={"rows": [_doc(3)] * 4 + [_doc(7)]}).raise_for_status()
    for page in (1, 2, 3, 4, 5, 1000):
        counted = Counter(doc["id"] for doc in client.scan(ITEMS, page=page))
        assert counted == Counter(_doc(n)["id"] for n in [*range(10), 3, 3, 3, 3, 7])
    assert client.get_many(ITEMS, [_doc(n)["id"] for n in range(10)], chunk=3) == {
        _doc(n)["id"]: _doc(n) for n in range(10)
    }


def test_hard_values_come_back_the_same(client: ZeroDBClient) -> None:
    values = [
        2**63,
        -(2**63) - 1,
        2**64,
        10**400,
        0.1,
        1e-320,
        -0.0,
        True,
        None,
        "",
        "\U0001f9ea\u0000\u2028",
        [[], {}],
    ]
    document = _doc(1, values=values, **{"a.b": 1, "$x": 2, "": 3, "ключ": "значение"})
    client.put_many(ITEMS, [document])
    again = client.get_many(ITEMS, [document["id"]])[document["id"]]
    assert again == document
    assert repr(again) == repr(document)


def test_large_documents_are_split_over_requests_and_read_within_bounds(
    server: ZeroDBProcess, project: str, client: ZeroDBClient
) -> None:
    documents = [_doc(n, body=chr(97 + n) * (10_000_000 if n == 5 else 1_500_000)) for n in range(12)]
    assert client.put_many(ITEMS, documents).inserted == 12
    # 1.5 MB each: five fit 8 MiB; the 10 MB one goes alone.
    assert _stats(server)["requests"][_ROWS] == 4
    with _client(server, project, max_answer_bytes=4_000_000) as bounded:
        assert bounded.get_many(ITEMS, [doc["id"] for doc in documents]) == {doc["id"]: doc for doc in documents}
        assert list(bounded.scan(ITEMS)) == documents


def test_the_bound_on_requests_in_flight_holds_on_the_server(server: ZeroDBProcess, project: str) -> None:
    with _client(server, project, concurrency=3) as client:
        client.ensure_collection(ITEMS, [])
        server.client.delete("/_control/stats").raise_for_status()
        _fault(server, "slow", probability=1.0, seconds=0.05)
        client.get_many(ITEMS, [str(n) for n in range(30)], chunk=1)
    assert _stats(server)["in_flight_peak"] == 3


def test_more_threads_than_connections_do_not_disturb_each_other(
    server: ZeroDBProcess, project: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With one httpx client for all threads some of these requests lose their connection to another thread."""
    with _client(server, project, concurrency=1, timeout=5) as client, ThreadPoolExecutor(8) as pool:
        client.ensure_collection(ITEMS, [])
        _fault(server, "rate_limit", probability=0.2, seed=3, retry_after=0)
        assert set(pool.map(lambda n: client.count(ITEMS, {"id": str(n)}), range(1500))) == {0}
    assert "429" in caplog.text
    assert "ReadTimeout" not in caplog.text
    assert "ReadError" not in caplog.text


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    server: ZeroDBProcess, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with _client(server, project, attempts=1) as client:
        assert client.ping() >= 0
