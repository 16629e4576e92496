"""The routes: each operation of `openapi.yaml`, and the control endpoints, which are no part of that contract."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from content_orchestration.local.zerodb.catalog import NoSuchTableError, Table, TableExistsError
from content_orchestration.local.zerodb.documents import MalformedError, document, dump, read_insert, read_object
from content_orchestration.local.zerodb.faults import Controls, Fault
from content_orchestration.local.zerodb.filters import compile_filter, compile_sort
from content_orchestration.local.zerodb.gate import PREFIX, Gate
from content_orchestration.local.zerodb.rows import ROW_STYLES, RowStyle, compile_projection, write_page
from content_orchestration.local.zerodb.store import Store
from content_orchestration.local.zerodb.updates import apply_update, check_update, upsert_seed

MAX_ROWS = 1000
MAX_BODY = 256 * 1024 * 1024
"""Bytes of one request's body; more is answered 422."""
CONTRACT = Path(__file__).with_name("openapi.yaml")
_TABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")

Work = Callable[[str, str, bytes], Response]


def _member(members: dict[str, Any], name: str, kind: type, default: Any = None) -> Any:
    if name not in members:
        if default is None:
            raise MalformedError(f"{name} is missing")
        return default
    if not isinstance(members[name], kind):
        raise MalformedError(f"{name} has the wrong type")
    return members[name]


def _whole(members: dict[str, Any], name: str, default: int, most: int | None = None) -> int:
    value = members.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise MalformedError(f"{name} must be an integer")
    if value < 0 or (most is not None and value > most):
        raise MalformedError(f"{name} must be 0 or more" + (f" and at most {most}" if most is not None else ""))
    return int(value)


def _table_json(table: Table) -> dict[str, Any]:
    return {
        "table_id": f"table-{table.table_no}",
        "table_name": table.name,
        "schema": table.definition,
        "indexes": table.indexes,
        "row_count": table.row_count,
        "created_at": table.created_at,
    }


def _json(content: Any, status: int = 200) -> Response:
    return Response(dump(content), status, media_type="application/json")


class Operations:
    """The contract's operations. Each takes project, table and body, blocks, and runs in a thread of its own."""

    def __init__(self, store: Store, row_style: RowStyle) -> None:
        self._store = store
        self.row_style: RowStyle = row_style

    def list_tables(self, project: str, _table: str, _body: bytes) -> Response:
        """200 with every table."""
        tables = [_table_json(table) for table in self._store.tables(project)]
        return _json({"tables": tables, "total": len(tables)})

    def create_table(self, project: str, _table: str, body: bytes) -> Response:
        """201, or 409 where it exists."""
        members = read_object(body)
        name = _member(members, "table_name", str)
        if not _TABLE_NAME.fullmatch(name):
            raise MalformedError("table_name must begin with a letter or _, and have at most 63 letters, digits and _")
        indexes = _member(members, "indexes", list, [])
        if not all(isinstance(index, str) for index in indexes):
            raise MalformedError("indexes must be an array of field names")
        _member(members, "description", str, "")
        return _json(_table_json(self._store.create(project, name, _member(members, "schema", dict), indexes)), 201)

    def get_table(self, project: str, table: str, _body: bytes) -> Response:
        """200 with the table."""
        return _json(_table_json(self._store.table(project, table)))

    def drop_table(self, project: str, table: str, body: bytes) -> Response:
        """200 once it is gone; 422 unless the body confirms."""
        if _member(read_object(body), "confirm", bool) is not True:
            raise MalformedError('dropping a table needs {"confirm": true}')
        self._store.drop(project, table)
        return _json({"table_name": table, "dropped": True})

    def insert(self, project: str, table: str, body: bytes) -> Response:
        """200 once every row is on disk. The same document again is another row."""
        items, members = read_insert(body)
        if members.get("rows", ...) is not None:
            raise MalformedError("rows must be an array")
        if not 1 <= len(items) <= MAX_ROWS:
            raise MalformedError(f"rows must hold 1 to {MAX_ROWS} documents, not {len(items)}")
        return_ids = _member(members, "return_ids", bool, True)
        row_ids = self._store.insert(project, table, [document(text, value) for text, value in items])
        return _json({"inserted_count": len(row_ids), **({"row_ids": row_ids} if return_ids else {})})

    def update(self, project: str, table: str, body: bytes) -> Response:
        """200 with what matched and what changed."""
        members = read_object(body)
        given = _member(members, "filter", dict)
        condition, update = compile_filter(given), check_update(_member(members, "update", dict))
        seed = partial(upsert_seed, given) if _member(members, "upsert", bool, False) else None
        done = self._store.update(project, table, condition, lambda found: apply_update(found, update), seed)
        return _json({"matched_count": done.matched, "modified_count": done.modified, "upserted_id": done.upserted_id})

    def delete(self, project: str, table: str, body: bytes) -> Response:
        """200 with how many rows are gone."""
        members = read_object(body)
        condition = compile_filter(_member(members, "filter", dict))
        return _json({"deleted_count": self._store.delete(project, table, condition, _whole(members, "limit", 0))})

    def query(self, project: str, table: str, body: bytes) -> Response:
        """200 with a page of rows and the count of all that match."""
        members = read_object(body)
        condition = compile_filter(members.get("filter", {}))
        order = compile_sort(members.get("sort", {}))
        projection = compile_projection(members.get("projection", {}))
        limit, offset = _whole(members, "limit", 100, MAX_ROWS), _whole(members, "offset", 0)
        rows, total = self._store.query(project, table, condition, order, limit, offset)
        return Response(write_page(rows, total, self.row_style, projection), media_type="application/json")


def _route(path: str, works: dict[str, Work]) -> Route:
    async def endpoint(request: Request) -> Response:
        body = await request.body()
        kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
        if request.method not in ("GET", "HEAD") and kind != "application/json":
            raise MalformedError("Content-Type must be application/json")
        if len(body) > MAX_BODY:
            raise MalformedError(f"the body has more than {MAX_BODY} bytes")
        project, table = (unquote(request.path_params.get(name, "")) for name in ("project_id", "table"))
        work = works["GET" if request.method == "HEAD" else request.method]
        return await run_in_threadpool(work, project, table, body)

    return Route(PREFIX + path, endpoint, methods=list(works))


def _control_routes(controls: Controls, operations: Operations) -> list[Route]:
    async def faults(request: Request) -> Response:
        if request.method == "POST":
            controls.faults.append(Fault.from_json(read_object(await request.body())))
        elif request.method == "DELETE":
            controls.faults.clear()
        return JSONResponse({"faults": [fault.as_json() for fault in controls.faults]})

    async def stats(request: Request) -> Response:
        if request.method == "DELETE":
            controls.reset()
        return JSONResponse(controls.as_json())

    async def style(request: Request) -> Response:
        wanted = read_object(await request.body()).get("row_style")
        if wanted not in ROW_STYLES:
            raise MalformedError(f"row_style must be one of {', '.join(ROW_STYLES)}")
        operations.row_style = wanted
        return JSONResponse({"row_style": wanted})

    return [
        Route("/_control/faults", faults, methods=["GET", "POST", "DELETE"]),
        Route("/_control/stats", stats, methods=["GET", "DELETE"]),
        Route("/_control/style", style, methods=["PUT"]),
    ]


async def _health(_request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _contract(_request: Request) -> Response:
    return Response(CONTRACT.read_bytes(), media_type="application/yaml")


def _error(status: int, detail: str) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(_request: Request, error: Exception) -> Response:
        return JSONResponse({"detail": detail.format(error, type(error).__name__)}, status)

    return answer


async def _http_error(_request: Request, error: Exception) -> Response:
    found = error if isinstance(error, HTTPException) else HTTPException(500)
    return JSONResponse({"detail": found.detail}, found.status_code, found.headers)


def create_app(data_file: Path, api_key: str, row_style: RowStyle = "document") -> Starlette:
    """The application on one data file. Raises `sqlite3.Error` or `OSError` where the file cannot be used."""
    store = Store(data_file)
    controls = Controls()
    operations = Operations(store, row_style)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        store.close()

    tables = "/projects/{project_id}/database/tables"
    app = Starlette(
        routes=[
            Route(f"{PREFIX}/health", _health),
            Route("/openapi.yaml", _contract),
            _route(tables, {"GET": operations.list_tables, "POST": operations.create_table}),
            _route(tables + "/{table}", {"GET": operations.get_table, "DELETE": operations.drop_table}),
            _route(
                tables + "/{table}/rows",
                {"POST": operations.insert, "PUT": operations.update, "DELETE": operations.delete},
            ),
            _route(tables + "/{table}/query", {"POST": operations.query}),
            *_control_routes(controls, operations),
        ],
        middleware=[Middleware(Gate, api_key=api_key, controls=controls)],
        exception_handlers={
            MalformedError: _error(422, "{0}"),
            NoSuchTableError: _error(404, "no such table: {0}"),
            TableExistsError: _error(409, "the table exists already: {0}"),
            HTTPException: _http_error,
            Exception: _error(500, "the server failed: {1}"),
        },
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return app
