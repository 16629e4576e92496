"""The ZeroDB stand-in over HTTP: each operation, each fault as a client sees it, and what a kill leaves behind."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from content_orchestration.settings import PROJECT_ROOT
from content_orchestration_tests.integration.zerodb_process import KEY, ZeroDBProcess

EVERY_PLANE = "".join(chr(plane * 0x10000 + 0x41) for plane in range(17)) + "\uffff\U0010ffff\u202e\x7f  "


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZeroDBProcess]:
    found = ZeroDBProcess(tmp_path_factory.mktemp("zerodb") / "zerodb.sqlite3").start()
    yield found
    output = found.stop()
    assert not output, f"the server should have been quiet: {output}"


class Things:
    """One fresh table and short ways to ask about it."""

    def __init__(self, process: ZeroDBProcess, name: str = "things") -> None:
        self.process = process
        self.path = f"{process.tables}/{name}"
        process.client.request("DELETE", self.path, json={"confirm": True})
        body = {"table_name": name, "schema": {"fields": {}}, "indexes": ["id", "kind"]}
        assert process.client.post(process.tables, json=body).status_code == 201

    def ask(self, method: str, where: str, body: Any, status: int = 200) -> Any:
        answer = self.process.client.request(method, self.path + where, json=body)
        assert answer.status_code == status, answer.text
        if status >= 400:
            assert isinstance(answer.json()["detail"], str)
        return answer.json()

    def insert(self, *rows: Any) -> Any:
        return self.ask("POST", "/rows", {"rows": rows})

    def query(self, **body: Any) -> list[Any]:
        return self.ask("POST", "/query", body)["rows"]

    def count(self, given: dict[str, Any] | None = None) -> int:
        found = self.ask("POST", "/query", {"filter": given or {}, "limit": 0})
        assert found["rows"] == []
        return found["total"]


@pytest.fixture
def things(process: ZeroDBProcess) -> Iterator[Things]:
    process.client.delete("/_control/faults")
    process.client.delete("/_control/stats")
    yield Things(process)
    process.client.delete("/_control/faults")
    process.client.put("/_control/style", json={"row_style": "document"})


def order(process: ZeroDBProcess, **fault: Any) -> None:
    assert process.client.post("/_control/faults", json=fault).status_code == 200


def test_tables_are_made_listed_and_dropped(process: ZeroDBProcess, things: Things) -> None:
    things.insert({"id": "a"}, {"id": "b"})
    table = things.ask("GET", "", None)
    assert (table["table_name"], table["row_count"], table["indexes"]) == ("things", 2, ["id", "kind"])
    listed = process.client.get(process.tables).json()
    assert listed["tables"] == [table]
    assert listed["total"] == 1
    other = process.client.get("/api/v1/projects/%2Fother%20one/database/tables")
    assert other.json() == {"tables": [], "total": 0}
    again = process.client.post(process.tables, json={"table_name": "things", "schema": {}})
    assert again.status_code == 409
    for body in ({}, {"confirm": False}, {"confirm": "true"}, {"confirm": 1}, None):
        things.ask("DELETE", "", body, 422)
    things.ask("DELETE", "", {"confirm": True})
    for method, where, body in (
        ("GET", "", None),
        ("DELETE", "", {"confirm": True}),
        ("POST", "/rows", {"rows": [{}]}),
        ("PUT", "/rows", {"filter": {}, "update": {"$set": {"a": 1}}}),
        ("DELETE", "/rows", {"filter": {}}),
        ("POST", "/query", {}),
    ):
        things.ask(method, where, body, 404)


@pytest.mark.parametrize("name", ["", "1a", "a-b", "a" * 64, "é", "a\n", "a;DROP"])
def test_table_names_that_no_path_can_hold_are_refused(process: ZeroDBProcess, name: str) -> None:
    assert process.client.post(process.tables, json={"table_name": name, "schema": {}}).status_code == 422


def test_key_is_needed_except_for_health(process: ZeroDBProcess) -> None:
    for key in ("", "wrong", KEY + "x"):
        for path in (process.tables, "/_control/stats", "/nowhere"):
            answer = process.client.get(path, headers={"X-API-Key": key})
            assert answer.status_code == 401
            assert "X-API-Key" in answer.json()["detail"]
        assert process.client.get("/api/v1/health", headers={"X-API-Key": key}).status_code == 200
    assert httpx.get(process.root + process.tables).status_code == 401


def test_documents_come_back_as_they_went(things: Things) -> None:
    rows = [
        {
            "id": "a",
            "text": EVERY_PLANE,
            "big": 2**64 + 1,
            "huge": -(10**40),
            "float": 0.1,
            "nested": {"a": [None, {}]},
        },
        {"id": 7, "zero\0in it": "\0", EVERY_PLANE: True},
        {},
    ]
    assert things.insert(*rows)["inserted_count"] == 3
    assert things.query() == rows
    raw = '{"rows": [{"id":"raw", "n": 1.10, "t":"\\u00e9"}], "return_ids": false}'
    answer = things.process.client.post(
        things.path + "/rows", content=raw, headers={"Content-Type": "application/json; charset=utf-8"}
    )
    assert answer.json() == {"inserted_count": 1}
    found = things.process.client.post(things.path + "/query", json={"filter": {"id": "raw"}})
    assert '{"id":"raw", "n": 1.10, "t":"\\u00e9"}' in found.text


def test_a_document_of_ten_megabytes(things: Things) -> None:
    big = {"id": "big", "body": "漢😀" * 1_500_000}
    things.insert(big)
    assert things.query(filter={"id": "big"}) == [big]


def test_the_same_document_twice_is_two_rows(things: Things) -> None:
    first, second = things.insert({"id": "a"})["row_ids"], things.insert({"id": "a"})["row_ids"]
    assert first != second
    assert things.query(filter={"id": {"$in": ["a"]}}) == [{"id": "a"}, {"id": "a"}]


def test_insert_is_all_or_none_and_bounded(things: Things) -> None:
    for rows in ([], [{"id": "a"}, 1], [{"id": "a"}, None], [{"id": "x"}] * 1001, {"id": "a"}, "x", None):
        things.ask("POST", "/rows", {"rows": rows}, 422)
    things.ask("POST", "/rows", {}, 422)
    assert things.count() == 0
    assert len(things.insert(*({"id": f"{n:04}"} for n in range(1000)))["row_ids"]) == 1000
    assert len(things.query(limit=1000)) == 1000
    things.ask("POST", "/query", {"limit": 1001}, 422)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b'{"rows":[{"a":NaN}]}', "application/json"),
        (b'{"rows":[{"a":1}', "application/json"),
        (b"", "application/json"),
        (b'{"rows":[{"a":"\xff"}]}', "application/json"),
        (b'{"rows":[{"a":1}]}', "text/plain"),
        (b'{"rows":[{"a":1}]}', ""),
    ],
)
def test_malformed_bodies_are_refused(things: Things, content: bytes, kind: str) -> None:
    answer = things.process.client.post(things.path + "/rows", content=content, headers={"Content-Type": kind})
    assert answer.status_code == 422
    assert isinstance(answer.json()["detail"], str)
    assert things.count() == 0


@pytest.mark.parametrize(
    "body",
    [
        {"filter": []},
        {"filter": {"$where": "1"}},
        {"filter": {"a": {"$regex": "x"}}},
        {"sort": {"a": 0}},
        {"sort": {"a": True}},
        {"limit": -1},
        {"limit": 1.5},
        {"limit": "1"},
        {"limit": None},
        {"offset": -1},
        {"projection": {"a": "x"}},
    ],
)
def test_malformed_queries_are_refused(things: Things, body: dict[str, Any]) -> None:
    things.ask("POST", "/query", body, 422)


def test_query_sorts_projects_and_pages(things: Things) -> None:
    texts = ["b", "a", "\U00010000", "\uffff", "é", "Z", "a b", ""]
    things.insert(*({"id": text, "kind": number % 2, "at": {"n": number}} for number, text in enumerate(texts)))
    assert [row["id"] for row in things.query(sort={"id": 1})] == sorted(texts)
    assert [row["id"] for row in things.query(sort={"id": -1}, limit=3, offset=1)] == sorted(texts)[::-1][1:4]
    page = things.ask(
        "POST", "/query", {"filter": {"kind": 0}, "sort": {"at.n": -1}, "limit": 2, "projection": {"at.n": 1}}
    )
    assert page == {"rows": [{"at": {"n": 6}}, {"at": {"n": 4}}], "total": 4}
    assert things.ask("POST", "/query", {"offset": 10**30}) == {"rows": [], "total": 8}
    assert things.ask("POST", "/query", {"filter": {"kind": 0}, "offset": 3})["total"] == 4


def test_a_keyset_scan_sees_every_row_once(things: Things) -> None:
    ids = [f"{number * 7919 % 2500:05}-é" for number in range(2500)]
    for at in range(0, 2500, 1000):
        things.insert(*({"id": item} for item in ids[at : at + 1000]))
    seen: list[str] = []
    while page := things.query(filter={"id": {"$gt": seen[-1] if seen else ""}}, sort={"id": 1}, limit=400):
        seen += [row["id"] for row in page]
    assert seen == sorted(ids)


def test_updates_and_upserts(things: Things) -> None:
    things.insert({"id": "a", "n": 1}, {"id": "b", "n": 2**70}, {"id": "c"})
    put = {"filter": {"id": {"$in": ["a", "b", "c"]}}, "update": {"$inc": {"n": 1}, "$set": {"kind": "x"}}}
    done = things.ask("PUT", "/rows", put)
    assert done == {"matched_count": 3, "modified_count": 3, "upserted_id": None}
    assert [row["n"] for row in things.query(sort={"id": 1})] == [2, 2**70 + 1, 1]
    same = things.ask("PUT", "/rows", {"filter": {"kind": "x"}, "update": {"$set": {"kind": "x"}}})
    assert (same["matched_count"], same["modified_count"]) == (3, 0)
    things.ask("PUT", "/rows", {"filter": {"id": "a"}, "update": {"$set": {"id": "renamed"}, "$unset": {"n": 1}}})
    assert things.query(filter={"id": "renamed"}) == [{"id": "renamed", "kind": "x"}]
    upsert = {"filter": {"id": "new", "n": {"$gt": 3}}, "update": {"$set": {"kind": "y"}}, "upsert": True}
    made = things.ask("PUT", "/rows", upsert)
    assert (made["matched_count"], made["modified_count"]) == (0, 0)
    assert isinstance(made["upserted_id"], str)
    assert things.query(filter={"id": "new"}) == [{"id": "new", "kind": "y"}]
    nothing = things.ask("PUT", "/rows", {"filter": {"id": "none"}, "update": {"$set": {"kind": "y"}}})
    assert nothing == {"matched_count": 0, "modified_count": 0, "upserted_id": None}
    things.ask("PUT", "/rows", {"filter": {}, "update": {"$inc": {"kind": 1}}}, 422)
    assert things.count({"kind": "x"}) == 3
    for body in ({"filter": {}}, {"update": {"$set": {}}}, {"filter": {}, "update": {"a": 1}}):
        things.ask("PUT", "/rows", body, 422)


def test_deletes_up_to_a_limit(things: Things) -> None:
    things.insert(*({"id": str(number), "kind": number % 2} for number in range(10)))
    assert things.ask("DELETE", "/rows", {"filter": {"kind": 1}, "limit": 2}) == {"deleted_count": 2}
    assert [row["id"] for row in things.query(filter={"kind": 1})] == ["5", "7", "9"]
    assert things.ask("DELETE", "/rows", {"filter": {"kind": 1}, "limit": 0}) == {"deleted_count": 3}
    things.ask("DELETE", "/rows", {}, 422)
    assert things.ask("GET", "", None)["row_count"] == 5
    assert things.ask("DELETE", "/rows", {"filter": {}}) == {"deleted_count": 5}


def test_rows_come_in_either_published_shape(things: Things) -> None:
    (row_id,) = things.insert({"id": "a", "n": 2**64})["row_ids"]
    assert things.process.client.put("/_control/style", json={"row_style": "other"}).status_code == 422
    assert things.process.client.put("/_control/style", json={"row_style": "envelope"}).status_code == 200
    (found,) = things.query()
    assert sorted(found) == ["created_at", "row_data", "row_id", "updated_at"]
    assert (found["row_id"], found["row_data"]) == (row_id, {"id": "a", "n": 2**64})
    assert things.query(projection={"id": 1})[0]["row_data"] == {"id": "a"}


def test_unknown_paths_and_methods(process: ZeroDBProcess) -> None:
    for path in ("/api/v1/nowhere", f"{process.tables}/", f"{process.tables}/no%2Fslash", "/"):
        answer = process.client.get(path)
        assert (answer.status_code, list(answer.json())) == (404, ["detail"])
    answer = process.client.patch(process.tables)
    assert answer.status_code == 405
    assert {"GET", "POST"} <= set(answer.headers["allow"].split(", "))


def test_rate_limit_and_errors_come_before_the_write_or_after_it(process: ZeroDBProcess, things: Things) -> None:
    order(process, kind="rate_limit", count=2, retry_after=7, method="post", path_part="/rows")
    assert things.count() == 0
    for _ in range(2):
        answer = process.client.post(things.path + "/rows", json={"rows": [{"id": "a"}]})
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    order(process, kind="error", status=502)
    things.ask("POST", "/rows", {"rows": [{"id": "a"}]}, 502)
    assert things.count() == 0
    order(process, kind="error_after")
    things.ask("POST", "/rows", {"rows": [{"id": "a"}]}, 503)
    assert things.count() == 1
    fired = [fault["fired"] for fault in process.client.get("/_control/faults").json()["faults"]]
    assert fired == [2, 1, 1]


@pytest.mark.parametrize(("kind", "rows"), [("cut_before", 0), ("cut_after", 3)])
def test_a_cut_closes_the_connection_without_an_answer(
    process: ZeroDBProcess, things: Things, kind: str, rows: int
) -> None:
    order(process, kind=kind, count=3, path_part="/rows")
    for number in range(3):
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            process.client.post(things.path + "/rows", json={"rows": [{"id": str(number), "body": "x" * 300_000}]})
    assert things.count() == rows
    assert process.client.get("/_control/stats").json()["answers"]["cut"] == 3


def test_a_cut_sends_not_one_byte(process: ZeroDBProcess, things: Things) -> None:
    """Below the HTTP client: the socket ends by FIN or RST with nothing before it."""
    order(process, kind="cut_after")
    body = b'{"rows":[{"id":"raw"}]}'
    head = f"POST {things.path}/rows HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", process.port), timeout=10) as raw:
        raw.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        try:
            got = raw.recv(1000)
        except ConnectionResetError:
            got = b""
    assert got == b""
    assert things.count({"id": "raw"}) == 1


def test_a_slow_answer_outlives_the_client_but_not_its_write(process: ZeroDBProcess, things: Things) -> None:
    order(process, kind="slow", seconds=0.6, method="POST", path_part="/rows")
    with pytest.raises(httpx.ReadTimeout):
        process.client.post(things.path + "/rows", json={"rows": [{"id": "late"}]}, timeout=0.2)
    assert things.count({"id": "late"}) == 1
    order(process, kind="slow", seconds=0.7, method="POST", path_part="/rows")
    start = time.monotonic()
    things.insert({"id": "patient"})
    assert time.monotonic() - start >= 0.7


def test_faults_by_probability_repeat_with_their_seed(process: ZeroDBProcess, things: Things) -> None:
    def statuses() -> list[int]:
        process.client.delete("/_control/faults")
        order(process, kind="error", probability=0.5, seed=3, path_part="/query")
        found = [process.client.post(things.path + "/query", json={}).status_code for _ in range(40)]
        return [found.count(200), *found]

    first = statuses()
    assert 8 <= first[0] <= 32
    assert statuses() == first


def test_stats_count_calls_by_route_and_start_again(process: ZeroDBProcess, things: Things) -> None:
    process.client.delete("/_control/stats")
    things.insert({"id": "a"})
    things.query()
    things.query()
    stats = process.client.get("/_control/stats").json()
    route = "/projects/{project_id}/database/tables/{table}"
    assert stats["requests"] == {f"POST {route}/rows": 1, f"POST {route}/query": 2}
    assert stats["answers"] == {"200": 3}
    assert stats["in_flight_peak"] == 1
    assert process.client.delete("/_control/stats").json() == {"requests": {}, "answers": {}, "in_flight_peak": 0}


def test_stats_show_how_many_requests_were_open_at_once(process: ZeroDBProcess, things: Things) -> None:
    order(process, kind="slow", seconds=0.5, count=4)
    ask = partial(process.client.post, things.path + "/query", json={})
    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert process.client.get("/_control/stats").json()["in_flight_peak"] == 4


def test_kill_loses_no_acknowledged_row(tmp_path: Path) -> None:
    """SIGKILL while clients insert: what was answered 200 is there after a restart, and no batch is half there."""
    process = ZeroDBProcess(tmp_path / "zerodb.sqlite3").start()
    things = Things(process)
    acknowledged: list[str] = []
    enough = threading.Event()

    def write(writer: int) -> None:
        with httpx.Client(base_url=process.root, headers={"X-API-Key": KEY}, timeout=30) as client:
            for number in range(100_000):
                batch = f"{writer}-{number}"
                rows = [{"id": f"{batch}-{row}", "batch": batch, "body": "x" * 500} for row in range(20)]
                try:
                    answer = client.post(things.path + "/rows", json={"rows": rows})
                except httpx.TransportError:
                    return
                assert answer.status_code == 200
                acknowledged.append(batch)
                if len(acknowledged) >= 60:
                    enough.set()

    writers = [threading.Thread(target=write, args=[writer]) for writer in range(4)]
    for writer in writers:
        writer.start()
    assert enough.wait(60)
    process.stop(kill=True)
    for writer in writers:
        writer.join(30)
    process.start()
    try:
        total = things.ask("GET", "", None)["row_count"]
        found: dict[str, int] = {}
        for offset in range(0, total, 1000):
            for row in things.query(limit=1000, offset=offset, projection={"batch": 1}):
                found[row["batch"]] = found.get(row["batch"], 0) + 1
        assert set(acknowledged) <= set(found)
        assert set(found.values()) == {20}
        assert len(found) - len(set(acknowledged)) <= len(writers), "only a request in flight may be there unanswered"
        assert things.insert({"id": "after"})["row_ids"]
    finally:
        process.stop()


def test_stop_and_start_keep_everything(tmp_path: Path) -> None:
    process = ZeroDBProcess(tmp_path / "deep" / "zerodb.sqlite3", "--row-style", "envelope").start()
    things = Things(process)
    first = things.insert({"id": "a"})["row_ids"]
    process.stop()
    process.start()
    assert [row["row_id"] for row in things.query()] == first
    assert things.insert({"id": "b"})["row_ids"] != first
    process.stop()
    assert not (tmp_path / "deep" / "zerodb.sqlite3-wal").exists(), "a clean stop folds the log into the file"


def test_a_taken_port_or_a_useless_file_is_one_clear_line(process: ZeroDBProcess, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a database, and long enough to be seen as something else " * 20)
    command = [sys.executable, "-m", "content_orchestration.local.zerodb", "--api-key", KEY]
    for port, file in ((process.port, tmp_path / "free"), (0, tmp_path / "text"), (0, tmp_path / "text" / "below")):
        done = subprocess.run(
            [*command, "--port", str(port), "--data-file", str(file)],
            cwd=PROJECT_ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stdout) == (1, "")
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert str(port if port else file) in done.stderr


def test_readers_are_not_blocked_by_a_writer(process: ZeroDBProcess, things: Things) -> None:
    """Reads go on while inserts come in, and each sees whole batches."""
    done = threading.Event()

    def write() -> None:
        with httpx.Client(base_url=process.root, headers={"X-API-Key": KEY}, timeout=30) as client:
            for number in range(30):
                client.post(things.path + "/rows", json={"rows": [{"id": f"{number}-{row}"} for row in range(100)]})
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    totals = [things.count()]
    while not done.is_set():
        totals.append(things.count())
    writer.join()
    assert all(total % 100 == 0 for total in totals)
    assert totals == sorted(totals)
    assert things.count() == 3000
