"""What the local stack says when it cannot go on: the problem and the way out. Who notices it is elsewhere."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import TimeoutExpired

from content_orchestration.core.errors import ContentError


class LocalStackError(ContentError):
    """A problem on this machine that its user can solve. `str()` is the whole message, ready for the terminal."""

    def __init__(self, problem: str, way_out: str) -> None:
        super().__init__(f"{problem}\n  Way out: {way_out}")
        self.problem = problem
        self.way_out = way_out


def joined(errors: list[LocalStackError]) -> LocalStackError:
    """One error that says all of several."""
    if len(errors) == 1:
        return errors[0]
    return LocalStackError(
        "\n".join(f"- {error.problem}" for error in errors), "\n".join(f"\n  - {error.way_out}" for error in errors)
    )


@contextmanager
def explained(state_dir: Path) -> Iterator[None]:
    """Turns an error of the file system below `state_dir` into a `LocalStackError`."""
    try:
        yield
    except OSError as error:
        raise explain(error, state_dir) from error
    except TimeoutExpired as error:
        raise LocalStackError(
            f"{error.cmd} took more than {error.timeout:.0f} s.", "start again when the machine is less busy."
        ) from error


def explain(error: OSError, state_dir: Path) -> LocalStackError:
    """What an error of the file system means to somebody who only wanted the stack to start."""
    where = error.filename or state_dir
    if error.errno in {errno.EACCES, errno.EPERM}:
        return LocalStackError(
            f"This account may not write to {where} ({error.strerror}); nothing was changed.",
            "run as the account that owns it, or set LOCAL_STATE_DIR to a folder of your own.",
        )
    if error.errno == errno.EROFS:
        return LocalStackError(
            f"{where} is on a file system that is mounted read-only.",
            "set LOCAL_STATE_DIR to a folder that can be written.",
        )
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return disk_full(Path(where))
    if error.errno in {errno.ENOTDIR, errno.EEXIST}:
        return LocalStackError(
            f"{where} should be a folder, but it or a part of its path is something else; nothing was changed.",
            "move that file aside, or set LOCAL_STATE_DIR to another folder.",
        )
    return LocalStackError(
        f"The system refused an operation on {where}: {error.strerror or error}.",
        "solve what it names, or set LOCAL_STATE_DIR to another folder.",
    )


def disk_full(where: Path) -> LocalStackError:
    """The disk, or this account's share of it, has no room for `where`."""
    return LocalStackError(
        f"The disk that holds {where} is full, or this account's share of it is. What is stored is still there.",
        "free some space and start again, or set LOCAL_STATE_DIR to a folder on another disk.",
    )
