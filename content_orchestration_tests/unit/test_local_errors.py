"""Errors of the file system become messages with a way out."""

import errno
import os
from pathlib import Path
from subprocess import TimeoutExpired

import pytest

from content_orchestration.local.errors import LocalStackError, explain, explained, joined


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.EACCES, "may not write to /s/x"),
        (errno.EPERM, "may not write to /s/x"),
        (errno.EROFS, "read-only"),
        (errno.ENOSPC, "full"),
        (errno.EDQUOT, "full"),
        (errno.ENOTDIR, "should be a folder"),
        (errno.EEXIST, "should be a folder"),
        (errno.EIO, "refused an operation on /s/x"),
    ],
)
def test_each_names_the_path_and_a_way_out(number: int, says: str) -> None:
    error = explain(OSError(number, os.strerror(number), "/s/x"), Path("/s"))
    assert says in error.problem
    assert "/s/x" in error.problem
    assert error.way_out
    assert str(error) == f"{error.problem}\n  Way out: {error.way_out}"


def test_a_file_in_the_place_of_the_folder_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(LocalStackError, match="should be a folder") as caught, explained(tmp_path):
        (tmp_path / "file" / "sub").mkdir(parents=True)
    assert "move that file aside" in caught.value.way_out
    assert (tmp_path / "file").read_text() == "mine"


def test_a_program_that_hangs_is_explained(tmp_path: Path) -> None:
    with pytest.raises(LocalStackError, match="initdb took more than 5 s"), explained(tmp_path):
        raise TimeoutExpired("initdb", 5)


def test_several_become_one_that_says_all() -> None:
    one, two = LocalStackError("p1", "w1"), LocalStackError("p2", "w2")
    assert joined([one]) is one
    both = str(joined([one, two]))
    assert all(part in both for part in ("p1", "p2", "w1", "w2"))
