"""The doctor over a running stack, daemon included, and where the stack's servers listen."""

import ipaddress
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from content_orchestration.core.schema.documents import ensure_collections
from content_orchestration.core.schema.postgres import upgrade
from content_orchestration.core.schema.warehouse import ensure_warehouse
from content_orchestration.local.demo import prepare
from content_orchestration.local.environment import dagster_environment
from content_orchestration.local.ports import free_ports
from content_orchestration.local.stack import LocalStack
from content_orchestration.local.ui import DagsterUI
from content_orchestration.resources.bigquery import BigQueryDRResource
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration.resources.zerodb_client import ZeroDBClient
from content_orchestration.settings import PROJECT_ROOT, Settings
from content_orchestration_tests.conftest import scratch_settings
from content_orchestration_tests.e2e.environment import VARIABLES, environment

_PATIENCE = 240.0


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LocalStack, dict[str, str]]]:
    """A stack of its own, which waits for the disk, with schema, collections and dataset; and its variables."""
    (ui,) = free_ports(1)
    state = tmp_path_factory.mktemp("doctor") / "state"
    stack = LocalStack(scratch_settings(state, DAGSTER_UI_PORT=ui))
    stack.start()
    settings = stack.settings
    values = {
        "LOCAL_STATE_DIR": str(state), "DAGSTER_UI_PORT": str(ui),
        "LOCAL_POSTGRES_PORT": str(settings.local_postgres_port), "LOCAL_ZERODB_PORT": str(settings.local_zerodb_port),
        "LOCAL_BIGQUERY_PORT": str(settings.local_bigquery_port),
        "LOCAL_BIGQUERY_GRPC_PORT": str(settings.local_bigquery_grpc_port),
    }  # fmt: skip
    try:
        with environment(values):
            prepare(settings)
            bring_the_schema(settings)
        yield stack, values
    finally:
        stack.stop()


def bring_the_schema(settings: Settings) -> None:
    bigquery = BigQueryDRResource()
    try:
        with (
            PostgresClient(settings.database_url) as database,
            ZeroDBClient(settings.zerodb_url, settings.zerodb_project_id, settings.zerodb_key) as store,
        ):
            upgrade(database)
            ensure_collections(store)
            ensure_warehouse(bigquery.client())
    finally:
        bigquery.close()


def doctor(values: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name not in {*VARIABLES, "DAGSTER_HOME", "PGPASSWORD"}}
    return subprocess.run(
        [sys.executable, "-m", "content_orchestration.local.cli", "doctor", "--seconds", "90", *arguments],
        cwd=PROJECT_ROOT, env=kept | values, capture_output=True, text=True, timeout=240,
    )  # fmt: skip


def forget_daemons(settings: Settings) -> None:
    """As in a storage that no daemon has used yet: one that has just ended counts as alive for five minutes."""
    with psycopg.connect(settings.dagster_database_url, autocommit=True) as connection:
        if connection.execute("SELECT to_regclass('daemon_heartbeats')").fetchone() != (None,):
            connection.execute("DELETE FROM daemon_heartbeats")


def test_without_a_daemon_all_is_well_but_that(whole: tuple[LocalStack, dict[str, str]]) -> None:
    forget_daemons(whole[0].settings)
    ran = doctor(whole[1])
    assert ran.returncode == 0, ran.stdout + ran.stderr
    amiss = [line for line in ran.stdout.splitlines() if line and not line.startswith("ok ")]
    assert len(amiss) == 2, ran.stdout
    assert amiss[0].startswith("warning  dagster daemons")
    assert "no schedule, sensor or queued run starts -> run make up" in amiss[0]


@pytest.mark.parametrize(
    ("broken", "about"),
    [
        ({"DATABASE_POOL_SIZE": "many"}, "DATABASE_POOL_SIZE"),
        ({"DATABASE_PUBLIC_URL": "postgresql://u:canary-7d21 x@127.0.0.1/db"}, "DATABASE_PUBLIC_URL"),
    ],
)
def test_invalid_variables_are_told_in_lines_and_for_machines(
    whole: tuple[LocalStack, dict[str, str]], broken: dict[str, str], about: str
) -> None:
    for arguments in ((), ("--json",)):
        ran = doctor(whole[1] | broken, *arguments)
        assert ran.returncode == 1
        assert about in ran.stdout
        assert "canary" not in ran.stdout + ran.stderr
        assert "Traceback" not in ran.stderr
    found = json.loads(ran.stdout)
    assert [(f["about"], f["state"]) for f in found["findings"]] == [(about, "problem"), ("everything else", "unknown")]


def listening(processes: list[psutil.Process]) -> dict[tuple[str, int], str]:
    """Addresses on which a process or its children listen, with the program."""
    found = {}
    for process in processes:
        for each in [process, *process.children(recursive=True)]:
            try:
                connections, name = each.net_connections(kind="tcp"), " ".join(each.cmdline())[:80]
            except psutil.NoSuchProcess:
                continue
            for connection in connections:
                if connection.status == psutil.CONN_LISTEN:
                    found[(connection.laddr.ip, connection.laddr.port)] = name
    return found


def is_loopback(address: str) -> bool:
    parsed = ipaddress.ip_address(address)
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_loopback


def test_every_server_listens_on_this_machine_only_and_the_doctor_sees_the_daemon(
    whole: tuple[LocalStack, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    stack, values = whole
    settings = stack.settings
    with environment(values):
        for name, value in dagster_environment(settings).items():
            monkeypatch.setenv(name, value)
        ui = DagsterUI(settings, patience=_PATIENCE)
        try:
            ui.start()
            servers = [server.find() for server in stack.servers]
            found = listening([psutil.Process(), *(server for server in servers if server is not None)])
            wanted = {
                settings.local_postgres_port, settings.local_zerodb_port, settings.local_bigquery_port,
                settings.local_bigquery_grpc_port, settings.dagster_ui_port,
            }  # fmt: skip
            assert wanted <= {port for _, port in found}, "every server is among those that were looked at"
            assert {place: name for place, name in found.items() if not is_loopback(place[0])} == {}
            deadline = time.monotonic() + _PATIENCE
            while "ok       dagster daemons" not in (said := doctor(values).stdout):
                assert time.monotonic() < deadline, said
                time.sleep(1)
        finally:
            ui.stop()
    assert not any(line.startswith(("problem", "unknown", "warning")) for line in said.splitlines()), said


def test_an_address_of_the_network_would_be_seen(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("0.0.0.0", 0)) as server:
        port = server.getsockname()[1]
        assert ("0.0.0.0", port) in listening([psutil.Process()])
    assert not is_loopback("0.0.0.0")
    assert not is_loopback("::")
    assert is_loopback("::ffff:127.0.0.1")
