"""Ports: free ones are found, taken ones are refused by a message that names the program and the variable."""

import os
import socket
from collections.abc import Iterator

import pytest

from content_orchestration.local import ports
from content_orchestration.local.errors import LocalStackError


@pytest.fixture(params=["127.0.0.1", "0.0.0.0"])
def listening(request: pytest.FixtureRequest) -> Iterator[int]:
    with socket.socket() as server:
        server.bind((request.param, 0))
        server.listen()
        yield server.getsockname()[1]


def test_free_ports_are_distinct_and_can_be_bound() -> None:
    found = ports.free_ports(20)
    assert len(set(found)) == 20
    for port in found:
        with socket.socket() as server:
            server.bind(("127.0.0.1", port))


def test_free_ports_avoids_what_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = ports.free_ports(2)
    monkeypatch.setattr(ports, "_SEARCH", [first, second])
    assert ports.free_ports(1, avoid=[first]) == [second]
    monkeypatch.setattr(ports, "_SEARCH", range(first, first + 1))
    with pytest.raises(LocalStackError, match="Fewer than 3 ports"):
        ports.free_ports(3)


def test_a_taken_port_names_the_program_and_the_variable(listening: int) -> None:
    assert not ports.is_free(listening)
    with pytest.raises(LocalStackError) as caught:
        ports.require_free(listening, "LOCAL_ZERODB_PORT", "The ZeroDB server")
    assert f"port {listening} is taken by" in caught.value.problem
    assert f"(pid {os.getpid()})" in caught.value.problem
    assert "set LOCAL_ZERODB_PORT to a free port, for example LOCAL_ZERODB_PORT=" in caught.value.way_out


def test_a_taken_port_of_an_invisible_program_is_refused_too(listening: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "listener", lambda port: None)
    with pytest.raises(LocalStackError, match="taken by another program"):
        ports.require_free(listening, "LOCAL_ZERODB_PORT", "The ZeroDB server")


def test_a_port_that_a_server_just_left_is_free() -> None:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as every server does
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            accepted, _ = server.accept()
            accepted.close()  # this side closes first, so the port stays in TIME_WAIT
    ports.require_free(port, "LOCAL_ZERODB_PORT", "The ZeroDB server")
