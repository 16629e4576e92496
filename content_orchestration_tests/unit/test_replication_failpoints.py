"""`core/failpoints.py`: nothing happens unless a test asks for it, and then exactly once."""

import os
import signal

import pytest

from content_orchestration.core.failpoints import VARIABLE, reach


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    calls: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, sign: calls.append((pid, sign)))
    return calls


def test_without_the_variable_nothing_happens(monkeypatch: pytest.MonkeyPatch, killed: list[tuple[int, int]]) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    reach("here")
    assert killed == []


@pytest.mark.parametrize(("wanted", "passed"), [("here", 1), ("here:1", 1), ("here:3", 3)])
def test_it_kills_at_the_passing_that_is_named(
    monkeypatch: pytest.MonkeyPatch, killed: list[tuple[int, int]], wanted: str, passed: int
) -> None:
    monkeypatch.setenv(VARIABLE, wanted)
    for _ in range(passed):
        assert killed == []
        reach("elsewhere")
        reach("here")
    assert killed == [(os.getpid(), signal.SIGKILL)]
