"""An in-memory ZeroDB behind `httpx.MockTransport`, with a script of faults. The real server has its own tests."""

import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

KEY = "secret-key-7f3a"
_PATH = re.compile(r"/api/v1/projects/p1/database/tables(?:/(?P<table>[^/]+)/(?P<what>rows|query))?")

Fault = Callable[[httpx.Request], httpx.Response | None]
"""Answers in place of the server, raises, or returns None to let the server answer."""


@dataclass
class FakeZeroDB:
    """Tables of rows, and what was asked of them."""

    tables: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {"content_items": []})
    envelope: bool = False
    before: list[tuple[str, Fault]] = field(default_factory=list)
    after: list[tuple[str, Fault]] = field(default_factory=list)
    requests: list[tuple[str, str, Any]] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self.handle)

    def fail(self, what: str, *faults: Fault, after: bool = False) -> None:
        """Let the next requests of this kind (`POST rows`, `POST query` ..) meet one fault each."""
        (self.after if after else self.before).extend((what, fault) for fault in faults)

    def asked(self, what: str) -> list[Any]:
        return [body for kind, _, body in self.requests if kind == what]

    def handle(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/api/v1/health":
            return self._faulty("GET health", request, lambda: httpx.Response(200, text="up"))
        match = _PATH.fullmatch(request.url.path)
        assert match, request.url
        what = f"{request.method} {match['what'] or 'tables'}"
        body = json.loads(request.content) if request.content else None
        with self.lock:
            self.requests.append((what, match["table"] or "", body))
            self.sizes.append(len(request.content))
        return self._faulty(what, request, lambda: self._answer(request, what, match["table"], body))

    def _faulty(self, what: str, request: httpx.Request, answer: Callable[[], httpx.Response]) -> httpx.Response:
        replaced = self._next(self.before, what, request)
        if replaced is not None:
            return replaced
        with self.lock:
            response = answer()
        return self._next(self.after, what, request) or response

    def _next(self, script: list[tuple[str, Fault]], what: str, request: httpx.Request) -> httpx.Response | None:
        with self.lock:
            found = next((entry for entry in script if entry[0] == what), None)
            if found is None:
                return None
            script.remove(found)
        return found[1](request)

    def _answer(self, request: httpx.Request, what: str, table: str | None, body: Any) -> httpx.Response:
        if request.headers.get("X-API-Key") != KEY:
            return httpx.Response(401, json={"detail": f"bad key {request.headers.get('X-API-Key')}"})
        if what == "GET tables":
            found = [{"table_id": name, "table_name": name, "row_count": len(r)} for name, r in self.tables.items()]
            return httpx.Response(200, json={"tables": found, "total": len(found)})
        if what == "POST tables":
            if body["table_name"] in self.tables:
                return httpx.Response(409, json={"detail": "exists"})
            self.tables[body["table_name"]] = []
            return httpx.Response(201, json={"table_id": "1", "table_name": body["table_name"]})
        if table not in self.tables:
            return httpx.Response(404, json={"detail": f"no table {table}"})
        rows = self.tables[table]
        if what == "POST rows":
            assert 1 <= len(body["rows"]) <= 1000
            rows.extend(body["rows"])
            return httpx.Response(200, json={"inserted_count": len(body["rows"])})
        chosen = [row for row in rows if _matches(row, body["filter"])]
        if what == "PUT rows":
            assert set(body["update"]) == {"$set"}
            for row in chosen:
                row.update(body["update"]["$set"])
            if not chosen and body["upsert"]:
                rows.append(dict(body["update"]["$set"]))
            return httpx.Response(200, json={"matched_count": len(chosen), "modified_count": len(chosen)})
        if what == "DELETE rows":
            self.tables[table] = [row for row in rows if row not in chosen]
            return httpx.Response(200, json={"deleted_count": len(chosen)})
        for name, direction in reversed(list(body.get("sort", {}).items())):
            chosen.sort(key=lambda row, name=name: row[name], reverse=direction < 0)
        limit, offset = body.get("limit", 100), body.get("offset", 0)
        assert 0 <= limit <= 1000
        page = [self._shown(row, body.get("projection")) for row in chosen[offset : offset + limit]]
        return httpx.Response(200, json={"rows": page, "total": len(chosen)})

    def _shown(self, row: dict[str, Any], projection: dict[str, int] | None) -> dict[str, Any]:
        shown = {key: value for key, value in row.items() if not projection or key in projection}
        return {"row_id": "r1", "row_data": shown, "created_at": "", "updated_at": ""} if self.envelope else shown


def _matches(row: dict[str, Any], where: dict[str, Any]) -> bool:
    for name, wanted in where.items():
        if name == "$and":
            if not all(_matches(row, part) for part in wanted):
                return False
        elif name == "$or":
            if not any(_matches(row, part) for part in wanted):
                return False
        elif isinstance(wanted, dict):
            for operator, operand in wanted.items():
                value = row.get(name)
                known = {
                    "$in": lambda: value in operand,  # noqa: B023
                    "$gt": lambda: value > operand,  # noqa: B023
                    "$exists": lambda: (name in row) is operand,  # noqa: B023
                }
                if not known[operator]():
                    return False
        elif row.get(name) != wanted:
            return False
    return True


def status(code: int, **headers: str) -> Fault:
    """Answer with this status, and these headers (`Retry_After="1"`)."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request: httpx.Response(code, json={"detail": "on purpose"}, headers=named)


def cut(error: type[httpx.TransportError] = httpx.RemoteProtocolError) -> Fault:
    """Raise in place of an answer."""

    def fault(request: httpx.Request) -> httpx.Response | None:
        raise error("cut on purpose", request=request)

    return fault
