"""TCP ports of this machine: is one free, and who has it if not. Our own servers on them are `server.py`'s business."""

import errno
import random
import socket
from collections.abc import Iterable

import psutil

from content_orchestration.local.errors import LocalStackError

HOST = "127.0.0.1"
# Below the range from which systems pick the ports of outgoing connections, so that none of those takes ours.
_SEARCH = range(20_000, 32_000)


def can_connect(port: int, timeout: float = 1.0) -> bool:
    """Whether something accepts connections on the port, within `timeout` seconds."""
    try:
        with socket.create_connection((HOST, port), timeout):
            return True
    except OSError:
        return False


def _bind_error(port: int) -> int | None:
    """The errno that keeps a server from binding the port, or None. Sets what servers set: TIME_WAIT is no obstacle."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            return error.errno
    return None


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now."""
    # macOS lets 127.0.0.1 be bound beside a listener on every address: only connecting finds that one.
    return _bind_error(port) is None and not can_connect(port)


def free_ports(count: int, *, avoid: Iterable[int] = ()) -> list[int]:
    """Distinct free ports, chosen at random so that runs side by side seldom meet."""
    avoided = set(avoid)
    found: list[int] = []
    for port in random.sample(_SEARCH, len(_SEARCH)):
        if port not in avoided and is_free(port):
            found.append(port)
            if len(found) == count:
                return found
    raise LocalStackError(
        f"Fewer than {count} ports between {_SEARCH.start} and {_SEARCH.stop} are free.", "stop programs that listen."
    )


def listener(port: int) -> str | None:
    """The program that listens on the port, as far as this account may see: `python3 server.py (pid 12)`."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.Error:
        return None
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN and connection.laddr[1:2] == (port,) and connection.pid:
            try:
                command = " ".join(psutil.Process(connection.pid).cmdline())
            except psutil.Error:
                command = "a program"
            return f"{command[:100]} (pid {connection.pid})"
    return None


def require_free(port: int, variable: str, title: str) -> None:
    """Raises where the port cannot be bound, naming who has it and the variable that moves us elsewhere."""
    failure = _bind_error(port)
    if failure == errno.EACCES:
        raise LocalStackError(
            f"{title}: this account may not listen on port {port} ({variable}).",
            f"set {variable} to a free port above 1023, for example {variable}={free_ports(1)[0]}.",
        )
    if failure is None and not can_connect(port):
        return
    who = listener(port) or "another program, which this account may not look at"
    raise LocalStackError(
        f"{title}: port {port} is taken by {who}.",
        f"stop that program, or set {variable} to a free port, for example {variable}={free_ports(1)[0]}.",
    )
