"""One line out, one line back, while the memory and the time of the process at the other end are watched."""

import json
import os
import select
import subprocess
import time
from contextlib import suppress
from typing import IO, Any, cast

# Between two looks a decoder can fill about 100 MiB; RLIMIT_DATA stops what grows faster.
_LOOK_SECONDS = 0.02
_PAGE = os.sysconf("SC_PAGE_SIZE")
_MIB = 1024 * 1024
_MOST_REPLY = 1024 * 1024


class OutOfTime(Exception):
    """No answer came in time. The process still runs."""


class OutOfMemory(Exception):
    """The process holds more than it may. It still runs."""


class Died(Exception):
    """The process ended, or answered what is no answer."""


class WatchedPipe:
    """Asks a child, started with two pipes, that answers each line on stdin by one on stdout; each is a JSON object."""

    def __init__(self, child: "subprocess.Popen[bytes]", memory_mib: int) -> None:
        self._child = child
        self._in, self._answers = cast(IO[bytes], child.stdin), cast(IO[bytes], child.stdout)
        self._out = self._answers.fileno()
        self._most_bytes = memory_mib * _MIB
        self._buffer = b""

    def ask(self, order: dict[str, Any], seconds: float) -> dict[str, Any]:
        """The answer to an order. Raises `OutOfTime`, `OutOfMemory` or `Died`."""
        try:
            self._in.write(json.dumps(order).encode() + b"\n")
            self._in.flush()
        except OSError as error:
            raise Died from error
        return self.receive(seconds)

    def close(self) -> None:
        """Closes both ends; what could not be written is dropped."""
        for stream in (self._in, self._answers):
            with suppress(OSError):
                stream.close()

    def receive(self, seconds: float) -> dict[str, Any]:
        """The next line. Raises `OutOfTime`, `OutOfMemory` or `Died`."""
        deadline = time.monotonic() + seconds
        while b"\n" not in self._buffer:
            if time.monotonic() > deadline:
                raise OutOfTime
            if resident_bytes(self._child.pid) > self._most_bytes:
                raise OutOfMemory
            if not select.select([self._out], [], [], _LOOK_SECONDS)[0]:
                continue
            piece = os.read(self._out, 65_536)
            self._buffer += piece
            if not piece or len(self._buffer) > _MOST_REPLY:
                raise Died
        line, _, self._buffer = self._buffer.partition(b"\n")
        try:
            reply = json.loads(line)
        except ValueError as error:
            raise Died from error
        if not isinstance(reply, dict):
            raise Died
        return reply


def resident_bytes(pid: int) -> int:
    """Bytes of memory that a process holds; 0 where the system does not tell (not Linux, or it ended)."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:  # noqa: PTH123  (read fifty times a second)
            return int(file.read().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0
