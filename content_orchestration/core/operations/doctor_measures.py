"""Clocks and disks, judged by stated bounds. Numbers in, findings out: who measures them is `local/doctor/`'s."""

import os
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import Protocol

from content_orchestration.core.operations.doctor import Finding, ok, problem, warning

CLOCK_WARNING = 5.0
"""Seconds: schedules and the age of things look odd from here on."""
CLOCK_PROBLEM = 60.0
"""Seconds: signatures of stores and tokens of Google are refused after 5 to 15 minutes, and clocks drift on."""
LEAST_FREE = 256 * 1024**2
"""Bytes: the local stack does not start below this."""
LITTLE_FREE = 2 * 1024**3
_MIB = 1024**2


class Space(Protocol):
    """What `os.statvfs` says of a file system."""

    @property
    def f_frsize(self) -> int:
        """Bytes of a block."""
        ...

    @property
    def f_bavail(self) -> int:
        """Blocks that this account may still take."""
        ...

    @property
    def f_files(self) -> int:
        """Files that the system can hold; 0 where it does not count them."""
        ...

    @property
    def f_favail(self) -> int:
        """Files that this account may still make."""
        ...


def clock(about: str, asked: float, there: float, answered: float, resolution: float = 0.0) -> Finding:
    """Compare another clock with ours. All in Unix seconds: ours before and after, theirs in between.

    What the way there and back and the resolution of the answer leave open counts in favour of the clocks.
    """
    open_seconds = (answered - asked) / 2 + resolution
    difference = there - (asked + answered) / 2
    apart = max(0.0, abs(difference) - open_seconds)
    said = f"{'ahead of' if difference > 0 else 'behind'} this machine by {apart:.0f} s or more"
    way_out = "set both clocks by NTP (timedatectl set-ntp true), then look again"
    if apart > CLOCK_PROBLEM:
        return problem(about, f"{said}; at most {CLOCK_PROBLEM:g} s are allowed", way_out)
    if apart > CLOCK_WARNING:
        return warning(about, f"{said}; expected are at most {CLOCK_WARNING:g} s", way_out)
    return ok(about, f"differs from this machine's by {abs(difference):.1f} s, known to {open_seconds:.1f} s")


def http_clock(about: str, asked: float, date: str | None, answered: float) -> Finding:
    """The same by a `Date` header, which counts whole seconds."""
    try:
        there = parsedate_to_datetime(date or "").timestamp()
    except ValueError:
        return warning(about, "the server sends no readable Date header", "compare its clock by hand")
    # The header names the second that has begun, so half of it is added and half stays open.
    return clock(about, asked, there + 0.5, answered, resolution=0.5)


def folder(about: str, path: Path, statvfs: Callable[[Path], Space]) -> Iterator[Finding]:
    """Whether a file can be written where `path` is or will be, and whether its disk has room."""
    place = path
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with TemporaryFile(dir=path) as probe:
            probe.write(b"probe")
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        yield problem(
            about,
            f"{path} cannot be written ({error.strerror or error})",
            "run as the account that owns it, free its disk, or set the variable to a folder of your own",
            stops=True,
        )
        return
    finally:
        _remove_empty(path, place)
    space = statvfs(place)
    free = space.f_bavail * space.f_frsize
    said = f"{path}: {free / _MIB:,.0f} MiB free"
    if space.f_files and not space.f_favail:
        yield problem(about, f"{path}: the file system can hold no more files", "remove files there", stops=True)
    elif free < LEAST_FREE:
        yield problem(about, f"{said}, less than {LEAST_FREE / _MIB:.0f}", "free some space there", stops=True)
    elif free < LITTLE_FREE:
        yield warning(about, f"{said}, less than {LITTLE_FREE / _MIB:,.0f}", "free some space there")
    else:
        yield ok(about, said)


def _remove_empty(path: Path, place: Path) -> None:
    """Take back the folders that were made to try."""
    while path != place:
        try:
            path.rmdir()
        except OSError:
            return
        path = path.parent
