"""No secret reaches a log, an event, metadata or a terminal: every one is a canary, and everything written is searched.

The canaries come from the fields of `Settings`, so a secret that is added later is looked for too. The servers that
refuse repeat what they were sent, as OpenAI and S3 do in earnest.
"""

import base64
import json
import os
import re
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from pydantic import SecretStr

from content_orchestration.local.environment import dagster_environment
from content_orchestration.local.ports import free_ports
from content_orchestration.local.stack import LocalStack
from content_orchestration.settings import PROJECT_ROOT, Settings
from content_orchestration_tests.conftest import scratch_settings
from content_orchestration_tests.e2e.environment import VARIABLES, ports

SECRETS = [str(f.alias) for f in Settings.model_fields.values() if f.annotation is SecretStr]
CANARIES = {name: f"cnry{number:02d}{secrets.token_hex(12)}" for number, name in enumerate(SECRETS)}
# Jobs that talk to what repeats secrets: ZeroDB, the store, providers of texts, targets of notices. SOAK=1 runs all.
REFUSED = (
    "take_files_in",
    "check_files",
    "check_integrity",
    "deliver_quota_notices",
    "watch_platform",
    "drain_body_spill",
)
CANARIES["PROVIDER_MASTER_KEY"] = base64.b64encode(secrets.token_bytes(32)).decode()
_KEPT = {"*.duckdb", "*.sqlite3"}


@pytest.fixture(scope="module")
def parrot() -> Iterator[int]:
    """A server that refuses everything and repeats what it was sent, in every shape that clients read."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            sent = f"{self.path} {dict(self.headers)} {self.rfile.read(length)!r}"
            if "Authorization" in self.headers and "AWS4" in self.headers["Authorization"]:
                body = f"<Error><Code>InvalidAccessKeyId</Code><Message>{sent}</Message></Error>".encode()
            else:
                body = json.dumps({"detail": sent, "error": {"message": sent, "code": "invalid_api_key"}}).encode()
            self.send_response_only(403 if "AWS4" in sent else 401)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = answer  # noqa: N815  (the base class calls them so)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def with_password(url: str, name: str) -> str:
    """The server trusts this machine and takes any password."""
    return url.replace("postgres@", f"postgres:{CANARIES[name]}@")


def everything_secret(settings: Settings, database_url: str, dagster_url: str, parrot: int) -> dict[str, str]:
    """Every secret of `Settings`, in a form that is taken as valid."""
    shaped = {
        "DATABASE_PUBLIC_URL": with_password(database_url, "DATABASE_PUBLIC_URL"),
        "DAGSTER_PG_URL": with_password(dagster_url, "DAGSTER_PG_URL"),
        "DRILL_DATABASE_URL": with_password(f"{database_url}_drill", "DRILL_DATABASE_URL"),
        "CELERY_REDIS_URL": f"redis://:{CANARIES.get('CELERY_REDIS_URL', '')}@127.0.0.1:1/0",
        "PROVIDER_MASTER_KEY": f"k1:{CANARIES['PROVIDER_MASTER_KEY']}",
        "OPENAI_API_KEY": f"sk-{CANARIES['OPENAI_API_KEY']}",
        "ANTHROPIC_API_KEY": f"sk-ant-{CANARIES['ANTHROPIC_API_KEY']}",
        "NOTIFY_URLS": f"json://user:{CANARIES['NOTIFY_URLS']}@127.0.0.1:{parrot}/{CANARIES['NOTIFY_URLS']}",
    }
    return ports(settings) | {name: shaped.get(name, canary) for name, canary in CANARIES.items()} | {
        "NOTIFY_SCHEMES": "json",
        "GENERATION_PROVIDERS": "openai:gpt-4.1-mini anthropic:claude-sonnet-4-5 template",
        "OPENAI_BASE_URL": f"http://127.0.0.1:{parrot}/v1",
        "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{parrot}",
        "STORAGE_URL": "s3://bucket/files",
        "STORAGE_REGION": "eu-central-1",
        "STORAGE_ENDPOINT": f"http://127.0.0.1:{parrot}",
        "BIGQUERY_DATASET": f"secrets_{uuid4().hex}",
        "ZERODB_PROJECT_ID": f"secrets-{uuid4().hex}",
    }  # fmt: skip


@dataclass(frozen=True)
class Ran:
    """What a process of jobs left: its outcomes, and everything that anybody wrote by where it stands."""

    outcomes: dict[str, bool]
    written: dict[str, str]

    def leaks(self) -> list[str]:
        """Where a canary stands, in any of its shapes, with what is around it."""
        found = []
        for name, canary in CANARIES.items():
            shapes = {canary, base64.b64encode(canary.encode()).decode().rstrip("="), canary.encode().hex()}
            for place, text in self.written.items():
                for shape in shapes:
                    at = text.find(shape)
                    if at >= 0:
                        found.append(f"{name} in {place}: …{text[max(0, at - 200) : at + 80]}…")
        return found


def python(arguments: list[str], values: dict[str, str], state: Path) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name not in {*VARIABLES, "DAGSTER_HOME", "PGPASSWORD"}}
    made = dagster_environment(Settings(**values | {"LOCAL_STATE_DIR": str(state)}))  # type: ignore[arg-type]
    return subprocess.run(
        [sys.executable, *arguments], cwd=PROJECT_ROOT, env=kept | values | made, capture_output=True, text=True,
        timeout=500,
    )  # fmt: skip


def run_jobs(values: dict[str, str], state: Path, wanted: dict[str, Any], databases: list[str]) -> Ran:
    ran = python(["-m", "content_orchestration_tests.secrets_process", json.dumps(wanted)], values, state)
    assert ran.returncode == 0, ran.stderr[-3000:]
    doctor = python(["-m", "content_orchestration.local.cli", "doctor", "--seconds", "90"], values, state)
    written = {"stdout": ran.stdout, "stderr": ran.stderr, "doctor": doctor.stdout + doctor.stderr}
    for path in state.rglob("*"):
        if path.is_file() and not any(path.match(pattern) for pattern in _KEPT):
            written[str(path.relative_to(state))] = path.read_bytes().decode("utf-8", "replace")
    for url in databases:
        written |= rows_of(url)
    return Ran(json.loads(ran.stdout.splitlines()[-1]), written)


def rows_of(url: str) -> dict[str, str]:
    """Every row of every table as text."""
    found = {}
    with psycopg.connect(url) as connection:
        names = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
        ).fetchall()
        for (name,) in names:
            rows = connection.execute(SQL("SELECT t::text FROM {} t").format(Identifier(name))).fetchall()
            found[f"table {name}"] = "\n".join(row for (row,) in rows)
    return found


def all_jobs() -> list[str]:
    from content_orchestration.definitions import defs

    return sorted(job.name for job in defs().get_repository_def().get_all_jobs() if job.name != "__ASSET_JOB")


@pytest.fixture
def tenant(database_url: str) -> str:
    """A tenant with a brand, content, a file that is to be fetched and a notice that is due."""
    tenant, brand = uuid4(), uuid4()
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO tenants (id, name, slug) VALUES (%s, 'T', 't')", [tenant])
        connection.execute("INSERT INTO brands (id, tenant_id, name) VALUES (%s, %s, 'B')", [brand, tenant])
        connection.execute(
            "INSERT INTO quota_notices (tenant_id, scope, level, severity, crossing, cause, used_bytes, "
            "reserved_bytes, limit_bytes, plan_tier) "
            "VALUES (%s, 'tenant', 85, 'warning', 1, 'use', 900, 0, 1000, 'free')",
            [tenant],
        )
    return str(tenant)


def wanted(tenant: str, *names: str) -> dict[str, Any]:
    partitioned = {"compute_storage_usage", "take_files_in", "make_variants", "check_tenants"}
    return {
        "tenants": [tenant],
        "jobs": [{"job": name} | ({"partition": tenant} if name in partitioned else {}) for name in names],
    }


def test_the_search_finds_what_is_there() -> None:
    for shape in (str, lambda text: base64.b64encode(text.encode()).decode(), lambda text: text.encode().hex()):
        for name, canary in CANARIES.items():
            assert [leak.split()[0] for leak in Ran({}, {"x": f"a {shape(canary)} b"}).leaks()] == [name]
    assert len(CANARIES) >= 10


def test_nothing_secret_is_written_where_servers_refuse_and_repeat_what_they_got(
    settings: Settings, database_url: str, empty_database: str, tenant: str, parrot: int, tmp_path: Path
) -> None:
    values = everything_secret(settings, database_url, empty_database, parrot)
    values["API_BASE_URL"] = f"http://127.0.0.1:{parrot}/api/v1"
    names = all_jobs() if os.environ.get("SOAK") == "1" else REFUSED
    ran = run_jobs(values, tmp_path / "state", wanted(tenant, *names), [database_url, empty_database])
    assert ran.leaks() == []
    assert False in ran.outcomes.values()
    events = ran.written["table event_logs"]
    assert "ZERODB_API_KEY" in events, "the refusal itself is told"
    assert re.search(r"json-[0-9a-f]{12}", ran.written["table quota_notices"] + events), "a target is told by its hash"


def test_nothing_secret_is_written_where_postgresql_is_not_there(
    settings: Settings, database_url: str, empty_database: str, tenant: str, parrot: int, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    values = everything_secret(settings, database_url, empty_database, parrot)
    nowhere = f"postgresql://user:{CANARIES['DATABASE_PUBLIC_URL']}@127.0.0.1:{port}/content?application_name=x"
    values |= {"DATABASE_PUBLIC_URL": nowhere, "BIGQUERY_ENDPOINT": f"http://127.0.0.1:{port}"}
    ran = run_jobs(
        values, tmp_path / "state", wanted(tenant, "replicate_to_bigquery", "watch_platform"), [empty_database]
    )
    assert ran.leaks() == []
    assert ran.outcomes["replicate_to_bigquery"] is False
    assert f"127.0.0.1:{port}/content" in ran.written["table event_logs"], "the address without its password is told"
    assert "nothing listens there" in ran.written["doctor"]


@pytest.fixture
def keyed_zerodb(settings: Settings, tmp_path: Path) -> Iterator[str]:
    """The port of a ZeroDB server that takes the canary, and nothing else, as its key."""
    elsewhere = {
        "DATABASE_PUBLIC_URL": "postgresql://u:p@127.0.0.1:1/x", "DAGSTER_PG_URL": "postgresql://u:p@127.0.0.1:1/x",
        "BIGQUERY_ENDPOINT": "http://127.0.0.1:1", "ZERODB_API_KEY": CANARIES["ZERODB_API_KEY"],
    }  # fmt: skip
    server = LocalStack(scratch_settings(tmp_path / "zerodb", **elsewhere))
    server.start()
    try:
        yield str(server.settings.local_zerodb_port)
    finally:
        server.stop()


def test_nothing_secret_is_written_where_all_goes_well(
    settings: Settings,
    database_url: str,
    empty_database: str,
    tenant: str,
    parrot: int,
    keyed_zerodb: str,
    tmp_path: Path,
) -> None:
    values = everything_secret(settings, database_url, empty_database, parrot) | {"LOCAL_ZERODB_PORT": keyed_zerodb}
    values |= {"STORAGE_URL": "", "STORAGE_ENDPOINT": "", "BIGQUERY_DATASET": f"secrets_{uuid4().hex}"}
    jobs = wanted(tenant, "content_pipeline", "watch_platform")
    jobs["jobs"][0]["tags"] = {
        "dagster/asset_partition_range_start": tenant, "dagster/asset_partition_range_end": tenant,
    }  # fmt: skip
    ran = run_jobs(values, tmp_path / "state", jobs, [database_url, empty_database])
    assert ran.leaks() == []
    assert ran.outcomes["content_pipeline"], ran.written["stderr"][-3000:]
    # What was searched is not empty: events, logs of steps, reports, what the doctor says.
    assert len(ran.written["table event_logs"]) > 10_000
    assert any(place.endswith(".err") for place in ran.written)
    assert "ok       zerodb key" in ran.written["doctor"]
