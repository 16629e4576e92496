"""The doctor before broken configurations: real servers, each broken in one way, each told with its way out."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from psycopg.sql import SQL, Identifier, Literal
from pydantic import SecretStr

from content_orchestration.core.operations import doctor_postgres
from content_orchestration.core.operations.doctor import Diagnosis, Finding, examine
from content_orchestration.core.operations.doctor_connection import DAEMONS, daemons, dagster_storage, look_into
from content_orchestration.core.operations.doctor_postgres import revisions
from content_orchestration.local.doctor.command import probes
from content_orchestration.local.doctor.secrets import secrets_of
from content_orchestration.local.platform_tables import create_platform_tables
from content_orchestration.local.ports import free_ports
from content_orchestration.settings import Settings
from content_orchestration_tests.slow_link import slow_link
from content_orchestration_tests.tiers import Tiers, open_tiers

CANARY = "canary-81c4"


@pytest.fixture(scope="module")
def opened(settings: Settings, _server: psycopg.Connection, _migrated_template: str) -> Iterator[Tiers]:
    """Tiers that no test of this file changes."""
    name = f"doctor_{uuid4().hex}"
    _server.execute(f"CREATE DATABASE {name} TEMPLATE {_migrated_template} STRATEGY FILE_COPY")  # type: ignore[arg-type]
    url = f"postgresql://postgres@127.0.0.1:{settings.local_postgres_port}/{name}"
    try:
        with open_tiers(settings, url, name, name) as tiers:
            yield tiers
    finally:
        _server.execute(f"DROP DATABASE {name} WITH (FORCE)")  # type: ignore[arg-type]


@pytest.fixture
def whole(settings: Settings, opened: Tiers, tmp_path: Path) -> Settings:
    """Settings under which everything is as it should be."""
    return settings.model_copy(
        update={
            "database_public_url": SecretStr(opened.database_url),
            "zerodb_project_id": opened.zerodb_project,
            "bigquery_dataset": opened.bigquery_dataset,
            "local_state_dir": tmp_path / "state",
        }
    )


@pytest.fixture
def breakable(whole: Settings, database_url: str) -> Settings:
    """The same on a database of this test."""
    return whole.model_copy(update={"database_public_url": SecretStr(database_url)})


def diagnosed(settings: Settings, *about: str, seconds: float = 60.0, **changed: Any) -> Diagnosis:
    """What these probes say under the changed settings. Nothing secret may be in it."""
    given = settings.model_copy(update=changed)
    offered = probes(given, running=False, environment={}, seconds=seconds)
    wanted = [probe for probe in offered if probe.about in about]
    assert len(wanted) == len(about)
    found = examine(wanted, seconds=seconds, secrets=secrets_of(given))
    assert CANARY not in "\n".join(found.as_lines())
    return found


def only(found: Diagnosis) -> Finding:
    """The one finding that is not ok."""
    (left,) = (finding for finding in found.findings if finding.state != "ok")
    assert left.way_out
    return left


def told(found: Diagnosis, about: str) -> tuple[str, str]:
    (finding,) = (each for each in found.findings if each.about == about)
    return finding.state, finding.text


def test_nothing_is_amiss_where_nothing_is_broken(whole: Settings) -> None:
    wanted = [probe.about for probe in probes(whole, running=False)]
    found = diagnosed(whole, *wanted)
    # The tests' server does not wait for the disk.
    assert only(found).text.startswith("fsync or full_page_writes is off")
    assert found.healthy
    assert len(found.findings) > 20


@pytest.fixture
def locked_out(settings: Settings) -> Iterator[str]:
    """A role that the server lets in with a password only."""
    role = f"locked_{uuid4().hex}"
    with psycopg.connect(settings.dagster_database_url, autocommit=True) as admin:
        (file,) = admin.execute("SHOW hba_file").fetchone() or ("",)
        path = Path(file)
        before = path.read_text()
        admin.execute(SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(Identifier(role), Literal("right")))
        path.write_text(f"host all {role} 127.0.0.1/32 scram-sha-256\n{before}")
        admin.execute("SELECT pg_reload_conf()")
        try:
            # The reload is asynchronous: until it is done, the role would be trusted.
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline:
                try:
                    psycopg.connect(settings.dagster_database_url.replace("postgres@", f"{role}:x@")).close()
                except psycopg.OperationalError:
                    break
                time.sleep(0.02)
            yield role
        finally:
            path.write_text(before)
            admin.execute("SELECT pg_reload_conf()")
            admin.execute(SQL("DROP ROLE {}").format(Identifier(role)))


def test_a_wrong_password(whole: Settings, locked_out: str) -> None:
    url = whole.database_url.replace("postgres@", f"{locked_out}:{CANARY}@")
    found = diagnosed(whole, "postgresql", database_public_url=SecretStr(url))
    assert "does not take the user or the password" in told(found, "postgresql")[1]
    assert told(found, "postgresql schema")[0] == "unknown"
    assert "DATABASE_PUBLIC_URL" in found.findings[0].way_out
    assert found.findings[0].stops


def test_a_closed_port(whole: Settings) -> None:
    (port,) = free_ports(1)
    found = diagnosed(
        whole, "postgresql", "dagster storage",
        database_public_url=SecretStr(f"postgresql://u:{CANARY}@127.0.0.1:{port}/content"),
        dagster_pg_url=SecretStr(f"postgresql://u:{CANARY}@127.0.0.1:{port}/dagster"),
    )  # fmt: skip
    assert told(found, "postgresql") == ("problem", f"127.0.0.1:{port}/content: nothing listens there")
    assert told(found, "dagster storage") == ("problem", f"127.0.0.1:{port}/dagster: nothing listens there")


def test_a_missing_database(whole: Settings) -> None:
    url = f"postgresql://postgres@127.0.0.1:{whole.local_postgres_port}/nowhere"
    found = diagnosed(whole, "postgresql", database_public_url=SecretStr(url))
    assert "there is no such database" in told(found, "postgresql")[1]


@pytest.fixture
def stranger(breakable: Settings) -> Iterator[str]:
    """The URL of a role that may log in and no more."""
    role = f"stranger_{uuid4().hex}"
    with psycopg.connect(breakable.database_url, autocommit=True) as admin:
        admin.execute(SQL("CREATE ROLE {} LOGIN").format(Identifier(role)))
        try:
            yield breakable.database_url.replace("postgres@", f"{role}@")
        finally:
            admin.execute(SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(Identifier(role)))


def test_a_role_without_privileges(whole: Settings, stranger: str) -> None:
    role = stranger.split("/")[2].split("@")[0]
    found = diagnosed(whole, "postgresql", database_public_url=SecretStr(stranger))
    assert told(found, "postgresql")[0] in ("ok", "warning")
    assert told(found, "postgresql roles") == (
        "problem", f"{role} may not act as content_app, content_readonly, content_worker",
    )  # fmt: skip
    assert told(found, "postgresql schema") == ("problem", "this role may not read at which revision it is")
    assert told(found, "postgresql our tables")[0] == "problem"
    assert told(found, "postgresql platform tables")[0] == "problem"
    assert "SELECT on articles" in told(found, "postgresql platform tables")[1]


def test_a_role_that_may_write_and_owns_nothing(breakable: Settings, stranger: str) -> None:
    role = stranger.split("/")[2].split("@")[0]
    with psycopg.connect(breakable.database_url, autocommit=True) as admin:
        admin.execute(SQL("GRANT ALL ON ALL TABLES IN SCHEMA public TO {}").format(Identifier(role)))
        admin.execute(SQL("GRANT content_app, content_worker, content_readonly TO {}").format(Identifier(role)))
    found = diagnosed(breakable, "postgresql", database_public_url=SecretStr(stranger))
    state, text = told(found, "postgresql our tables")
    assert (state, "does not own" in text) == ("problem", True)
    assert told(found, "postgresql platform tables")[0] == "ok"
    assert told(found, "postgresql roles")[0] == "ok"


def create_platform_tables_on(url: str) -> None:
    with psycopg.connect(url) as connection:
        create_platform_tables(connection)


def break_it(settings: Settings, statement: str) -> None:
    with psycopg.connect(settings.database_url, autocommit=True) as admin:
        admin.execute(statement)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("statement", "about", "said"),
    [
        ("UPDATE content_orchestration_version SET version_num = '0009'", "schema", "at revision 0009"),
        ("UPDATE content_orchestration_version SET version_num = '9999'", "schema", "which this release does not know"),
        ("DROP TABLE content_orchestration_version", "schema", "never made here"),
        ("DROP TABLE integrity_repairs", "our tables", "integrity_repairs missing"),
        ("DROP TABLE topics CASCADE", "platform tables", "topics missing"),
        ("ALTER TABLE media_assets NO FORCE ROW LEVEL SECURITY", "tenants apart", "not forced on media_assets"),
        ("REVOKE INSERT ON content_versions FROM content_app", "content_app", "lacks INSERT on content_versions"),
    ],
)  # fmt: skip
def test_a_schema_that_is_not_what_it_should_be(breakable: Settings, statement: str, about: str, said: str) -> None:
    break_it(breakable, statement)
    found = diagnosed(breakable, "postgresql")
    state, text = told(found, f"postgresql {about}")
    assert state == "problem"
    assert said in text
    assert not found.healthy


def test_the_newest_revision_is_the_last_file() -> None:
    known = revisions()
    assert known == sorted(set(known))
    assert known[:2] == ["0001", "0002"]


def test_a_database_before_the_first_main_job_is_no_obstacle(whole: Settings, empty_database: str) -> None:
    create_platform_tables_on(empty_database)
    found = diagnosed(
        whole, "postgresql", "zerodb", "bigquery", database_public_url=SecretStr(empty_database),
        zerodb_project_id=f"empty-{uuid4().hex}", bigquery_dataset=f"empty_{uuid4().hex}",
    )  # fmt: skip
    assert {f.about for f in found.findings if f.state == "problem"} == {
        "postgresql schema", "zerodb collections", "bigquery dataset",
    }  # fmt: skip
    assert {f.state for f in found.before_the_main_job().findings} == {"warning"}


def test_a_wrong_zerodb_key(whole: Settings) -> None:
    found = diagnosed(whole, "zerodb", zerodb_api_key=SecretStr(CANARY))
    problem = only(found)
    assert (problem.about, problem.state) == ("zerodb key", "problem")
    assert "check ZERODB_API_KEY" in problem.way_out


def test_a_zerodb_that_does_not_answer(whole: Settings) -> None:
    (port,) = free_ports(1)
    found = diagnosed(whole, "zerodb", api_base_url=f"http://127.0.0.1:{port}/api/v1")
    assert told(found, "zerodb") == ("problem", f"127.0.0.1:{port} does not answer (ConnectError)")
    assert told(found, "zerodb key")[0] == "unknown"


def test_a_missing_dataset_and_a_wrong_location(whole: Settings) -> None:
    missing = only(diagnosed(whole, "bigquery", bigquery_dataset=f"none_{uuid4().hex}"))
    assert (missing.about, missing.mended_by_main_job) == ("bigquery dataset", True)
    assert "is not there" in missing.text
    elsewhere = only(diagnosed(whole, "bigquery", bigquery_location="EU"))
    assert "is in US, and BIGQUERY_LOCATION is EU" in elsewhere.text
    (port,) = free_ports(1)
    down = diagnosed(whole, "bigquery", bigquery_endpoint=f"http://127.0.0.1:{port}")
    assert told(down, "bigquery")[0] == "problem"
    assert told(down, "bigquery dataset")[0] == "unknown"


def test_a_bigquery_without_credentials(whole: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {"CLOUDSDK_CONFIG": tmp_path, "NO_GCE_CHECK": "true", "HOME": tmp_path}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    problem = only(diagnosed(whole, "bigquery", bigquery_project_id="prod"))
    assert "no usable Google credentials" in problem.text
    assert "GOOGLE_APPLICATION_CREDENTIALS" in problem.way_out


def test_a_folder_that_cannot_be_written(whole: Settings, tmp_path: Path) -> None:
    (tmp_path / "in-the-way").write_text("a file")
    found = diagnosed(whole, "folders", "object store", local_state_dir=tmp_path / "in-the-way" / "state")
    assert told(found, "folder LOCAL_STATE_DIR")[0] == "problem"
    assert "cannot be written" in told(found, "folder LOCAL_STATE_DIR")[1]
    assert told(found, "object store")[0] == "problem"
    assert told(found, "folder temporary files")[0] == "ok"


def test_an_object_store_that_is_not_there(whole: Settings) -> None:
    (port,) = free_ports(1)
    secret = {"storage_access_key_id": SecretStr(f"id-{CANARY}"), "storage_secret_access_key": SecretStr(CANARY)}
    found = diagnosed(
        whole, "object store", storage_url="s3://bucket/prefix", storage_region="eu-central-1",
        storage_endpoint=f"http://127.0.0.1:{port}", **secret,
    )  # fmt: skip
    problem = only(found)
    assert "cannot put" in problem.text
    assert "STORAGE_ENDPOINT" in problem.way_out
    # Each tenant has a bucket of its own, and there is no tenant yet.
    empty = only(diagnosed(whole, "object store", storage_url="s3://", **secret))
    assert empty.state == "unknown"


@contextmanager
def http_server(headers: dict[str, str]) -> Iterator[int]:
    """Answers everything with 200, an empty list of tables and these headers."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(200)
            for name, value in headers.items():
                self.send_header(name, value)
            body = b'{"tables": [], "total": 0}'
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

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


@pytest.mark.parametrize(("seconds", "state"), [(-3600, "problem"), (30, "warning"), (0, "ok")])
def test_a_clock_that_is_wrong(whole: Settings, seconds: float, state: str) -> None:
    with http_server({"Date": formatdate(time.time() + seconds, usegmt=True)}) as port:
        found = diagnosed(whole, "zerodb", api_base_url=f"http://127.0.0.1:{port}/api/v1")
    assert told(found, "zerodb clock")[0] == state
    assert told(found, "zerodb collections") == (
        "problem", "content_items, content_versions, content_media_files missing",
    )  # fmt: skip


def test_an_old_pg_dump_and_none(whole: Settings, tmp_path: Path) -> None:
    none = only(diagnosed(whole, "pg_dump", postgres_programs=tmp_path))
    assert (none.state, "not installed" in none.text) == ("warning", True)
    program = tmp_path / "pg_dump"
    program.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.1'\n")
    program.chmod(0o755)
    old = only(diagnosed(whole, "pg_dump", postgres_programs=tmp_path))
    assert (old.state, "of version 9, the server of 18" in old.text) == ("problem", True)


@pytest.mark.parametrize(("about", "address"), [("zerodb", "api_base_url"), ("bigquery", "bigquery_endpoint")])
def test_a_slow_server_is_reached_by_whoever_gives_the_doctor_time(whole: Settings, about: str, address: str) -> None:
    url = urlsplit({"zerodb": whole.zerodb_url, "bigquery": whole.bigquery_url or ""}[about])
    with slow_link(url.port or 0, 1.2) as late:
        changed = {address: f"http://127.0.0.1:{late}{url.path}"}
        hurried = diagnosed(whole, about, seconds=2.0, **changed)
        patient = diagnosed(whole, about, **changed)
    # On a busy machine its time may be over before the client gives up.
    assert told(hurried, about)[0] in ("problem", "unknown")
    assert {finding.state for finding in patient.findings} == {"ok"}


def test_servers_that_take_the_connection_and_say_nothing_do_not_hold_the_doctor(whole: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        port = deaf.getsockname()[1]
        given = whole.model_copy(
            update={
                "database_public_url": SecretStr(f"postgresql://u:{CANARY}@127.0.0.1:{port}/content"),
                "dagster_pg_url": SecretStr(f"postgresql://u:{CANARY}@127.0.0.1:{port}/dagster"),
                "api_base_url": f"http://127.0.0.1:{port}",
                "bigquery_endpoint": f"http://127.0.0.1:{port}",
                "storage_url": "s3://bucket/prefix",
                "storage_endpoint": f"http://127.0.0.1:{port}",
                "storage_access_key_id": SecretStr("id"),
                "storage_secret_access_key": SecretStr(CANARY),
            }
        )
        began = time.monotonic()
        found = examine(probes(given, environment={}, seconds=5), seconds=5, secrets=secrets_of(given))
        seconds = time.monotonic() - began
    assert seconds < 25, "five seconds for all together, whatever each of them waits for"
    assert CANARY not in str(found.as_json())
    for about in ("postgresql", "dagster storage", "zerodb", "bigquery", "object store"):
        assert told(found, about)[0] in ("problem", "unknown"), about
    assert told(found, "folder LOCAL_STATE_DIR")[0] == "ok"


def daemons_of(url: str) -> Finding:
    (found,) = look_into(url, "DAGSTER_PG_URL", "d", lambda connection: daemons(connection, "d"))
    return found


def test_dagsters_storage_and_its_daemons(empty_database: str) -> None:
    def storage(url: str) -> Finding:
        (found,) = look_into(url, "DAGSTER_PG_URL", "s", lambda connection: dagster_storage(connection, "s"))
        return found

    assert storage(empty_database).text.startswith("empty: Dagster makes its tables")
    assert "never ran" in daemons_of(empty_database).text
    role = f"reader_{uuid4().hex}"
    with psycopg.connect(empty_database, autocommit=True) as admin:
        admin.execute(SQL("CREATE ROLE {} LOGIN").format(Identifier(role)))
        try:
            barred = storage(empty_database.replace("postgres@", f"{role}@"))
            assert (barred.state, barred.stops) == ("problem", True)
            assert "may not make them" in barred.text
            admin.execute("CREATE TABLE runs (); CREATE TABLE event_logs ()")
            admin.execute("CREATE TABLE daemon_heartbeats (daemon_type text, body text)")
            assert storage(empty_database).text == "Dagster's tables are there"
            refused = daemons_of(empty_database.replace("postgres@", f"{role}@"))
            assert refused.state == "problem"
            assert "permission denied" in refused.text
        finally:
            admin.execute(SQL("DROP ROLE {}").format(Identifier(role)))

        def beat(name: str, ago: float, errors: str = "[]") -> None:
            admin.execute("DELETE FROM daemon_heartbeats WHERE daemon_type = %s", [name])
            body = f'{{"timestamp": {time.time() - ago}, "errors": {errors}}}'
            admin.execute("INSERT INTO daemon_heartbeats VALUES (%s, %s)", [name, body])

        for name in DAEMONS:
            beat(name, 7200)
        assert "was last seen 120 minutes ago" in daemons_of(empty_database).text
        for name in DAEMONS:
            beat(name, 10)
        assert daemons_of(empty_database).state == "ok"
        beat("SENSOR", 10, '[{"message": "canary"}]')
        assert (daemons_of(empty_database).state, daemons_of(empty_database).text) == (
            "warning", "reporting errors: SENSOR",
        )  # fmt: skip
        beat("SENSOR", 900)
        silent = daemons_of(empty_database)
        assert (silent.state, silent.text) == ("problem", "silent for more than 5 minutes: SENSOR")


@pytest.mark.parametrize("roles", ["exist", "are missing"])
def test_a_role_that_may_make_nothing_before_the_first_migration(
    settings: Settings, empty_database: str, roles: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_platform_tables_on(empty_database)
    role = f"nobody_{uuid4().hex}"
    if roles == "are missing":
        monkeypatch.setattr(doctor_postgres, "ROLES", (f"absent_{uuid4().hex}",))
    with psycopg.connect(empty_database, autocommit=True) as admin:
        admin.execute(SQL("CREATE ROLE {} LOGIN").format(Identifier(role)))
        try:
            url = SecretStr(empty_database.replace("postgres@", f"{role}@"))
            found = diagnosed(settings.model_copy(update={"database_public_url": url}), "postgresql")
            state, text = told(found, "postgresql our tables")
            assert (state, text) == ("problem", f"{role} may not create tables")
            state, text = told(found, "postgresql roles")
            assert state == "problem"
            assert ("may not create roles" if roles == "are missing" else "may not act as") in text
        finally:
            admin.execute(SQL("DROP ROLE {}").format(Identifier(role)))


def test_roles_that_went_after_the_migration(breakable: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = f"absent_{uuid4().hex}"
    monkeypatch.setattr(doctor_postgres, "ROLES", (absent,))
    assert told(diagnosed(breakable, "postgresql"), "postgresql roles") == ("problem", f"{absent} missing")
