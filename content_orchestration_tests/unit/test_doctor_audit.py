"""`make audit` passes only by looking: what pip-audit skips, misses or cannot reach fails it."""

import json
import stat
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from content_orchestration.local import audit
from content_orchestration.local.audit import Accepted, accepted, judge, pins

TODAY = date(2026, 11, 21)
WANTED = {"jinja2": "3.1.2", "requests": "2.19.0"}
CLEAN = {"name": "Jinja2", "version": "3.1.2", "vulns": []}
FLAW = {"id": "PYSEC-2018-28", "aliases": ["CVE-2018-18074"], "fix_versions": ["2.20.0"]}
SKIPPED = {
    "name": "requests",
    "skip_reason": "Dependency not found on PyPI and could not be audited: requests (2.19.0)",
}


def report(*dependencies: dict[str, Any]) -> dict[str, Any]:
    return {"dependencies": list(dependencies), "fixes": []}


def flawed(**given: Any) -> dict[str, Any]:
    return {"name": "requests", "version": "2.19.0", "vulns": [FLAW | given]}


def test_every_pin_looked_up_and_clean_passes() -> None:
    found = judge(report(CLEAN, flawed() | {"vulns": []}), WANTED, [], TODAY)
    assert (found.audited, found.faults) == (2, ())


@pytest.mark.parametrize("dependencies", [[], [SKIPPED], [SKIPPED, {"name": "jinja2", "skip_reason": "not found"}]])
def test_nothing_looked_up_is_no_pass(dependencies: list[dict[str, Any]]) -> None:
    found = judge(report(*dependencies), WANTED, [], TODAY)
    assert found.audited == 0
    assert len(found.faults) == 1
    assert "nothing was audited" in found.faults[0]


@pytest.mark.parametrize("dependencies", [[CLEAN], [CLEAN, SKIPPED]])
def test_a_pin_that_was_skipped_or_left_out_is_no_pass(dependencies: list[dict[str, Any]]) -> None:
    found = judge(report(*dependencies), WANTED, [], TODAY)
    assert found.faults == ("1 of 2 pins were not audited: requests",)


def test_no_pins_are_no_pass() -> None:
    assert judge(report(), {}, [], TODAY).faults


@pytest.mark.parametrize(
    ("exceptions", "faults"),
    [
        ([], ["requests 2.19.0 has PYSEC-2018-28; mended by 2.20.0"]),
        ([Accepted("requests", "PYSEC-2018-28", "r", TODAY)], []),
        ([Accepted("requests", "CVE-2018-18074", "r", TODAY)], []),
        (
            [Accepted("requests", "CVE-2018-18074", "r", date(2026, 11, 20))],
            ["requests 2.19.0 has PYSEC-2018-28 (accepted until 2026-11-20); mended by 2.20.0"],
        ),
        (
            [Accepted("jinja2", "PYSEC-2018-28", "r", TODAY)],
            [
                "requests 2.19.0 has PYSEC-2018-28; mended by 2.20.0",
                "the exception PYSEC-2018-28 of jinja2 is of no use: remove it from audit_exceptions.toml",
            ],
        ),
    ],
)
def test_a_flaw_passes_only_by_an_exception_that_names_it(exceptions: list[Accepted], faults: list[str]) -> None:
    assert list(judge(report(CLEAN, flawed()), WANTED, exceptions, TODAY).faults) == faults


def test_an_exception_needs_a_reason_and_an_end() -> None:
    whole = '[[accepted]]\npackage = "A_b"\nid = "CVE-1"\nreason = "why"\nuntil = 2027-01-31\n'
    assert accepted(whole) == [Accepted("a-b", "CVE-1", "why", date(2027, 1, 31))]
    for line in ('reason = "why"\n', "until = 2027-01-31\n"):
        with pytest.raises(ValueError, match="lacks"):
            accepted(whole.replace(line, ""))
    with pytest.raises(ValueError, match="lacks a date"):
        accepted(whole.replace("2027-01-31", '"2027-01-31"'))


def test_the_projects_own_files_can_be_read() -> None:
    wanted = pins(audit.CONSTRAINTS.read_text())
    assert len(wanted) > 100
    assert "dagster" in wanted
    for exception in accepted(audit.EXCEPTIONS.read_text()):
        assert exception.package in wanted


def auditor(path: Path, said: str, code: int) -> Path:
    """A program in place of the environment's Python that prints this and ends with that code."""
    answer = path / "answer"
    answer.write_text(said)
    program = path / "python"
    program.write_text(f"#!/bin/sh\ncat {answer}\necho 'could not resolve pypi.org' >&2\nexit {code}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


@pytest.mark.parametrize(
    ("said", "code", "told"),
    [
        (json.dumps(report(CLEAN, SKIPPED)), 0, "1 of 2 pins were not audited"),
        (json.dumps(report()), 0, "nothing was audited"),
        (json.dumps(report(CLEAN, flawed())), 1, "has PYSEC-2018-28"),
        ("Traceback (most recent call last)", 1, "could not look: could not resolve pypi.org"),
        ("", 0, "could not look"),
    ],
)
def test_the_target_fails_loudly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], said: str, code: int, told: str
) -> None:
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("jinja2==3.1.2\nrequests==2.19.0\n")
    monkeypatch.setattr(audit, "CONSTRAINTS", constraints)
    monkeypatch.setattr(audit, "_pip_audit", lambda: auditor(tmp_path, said, code))
    assert audit.main() == 1
    assert told in capsys.readouterr().err


def test_the_target_passes_where_all_was_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("jinja2==3.1.2\n")
    monkeypatch.setattr(audit, "CONSTRAINTS", constraints)
    monkeypatch.setattr(audit, "_pip_audit", lambda: auditor(tmp_path, json.dumps(report(CLEAN)), 0))
    assert audit.main() == 0
