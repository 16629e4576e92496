"""`make audit`: the pinned packages against the public databases of vulnerabilities, by pip-audit.

pip-audit has an environment of its own, so that its dependencies are none of ours. What it skips it calls clean, and
its exit code is 0 where it could look up nothing: so its report is judged here, and not looking is a failure.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from content_orchestration.settings import PROJECT_ROOT

PIP_AUDIT = "pip-audit==2.10.1"
CONSTRAINTS = PROJECT_ROOT / "constraints.txt"
EXCEPTIONS = PROJECT_ROOT / "deploy" / "audit_exceptions.toml"
_SECONDS = 900
_SHOWN = 8
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Accepted:
    """A vulnerability that is known and accepted until a day, with the reason."""

    package: str
    id: str
    reason: str
    until: date


@dataclass(frozen=True)
class Verdict:
    """How many pins were looked up, and what is wrong, a line each; nothing wrong is a pass."""

    audited: int
    faults: tuple[str, ...]


def pins(text: str) -> dict[str, str]:
    """Name and version of every pin of a constraints file."""
    return {_canonical(name): version for name, version in _PIN.findall(text)}


def accepted(text: str) -> list[Accepted]:
    """The exceptions of the file. Raises `ValueError` for one without a reason or a day at which it ends."""
    found = []
    for entry in tomllib.loads(text).get("accepted", []):
        lacking = {"package", "id", "reason", "until"} - {key for key, value in entry.items() if value}
        if lacking or not isinstance(entry["until"], date):
            raise ValueError(f"an exception lacks {', '.join(sorted(lacking)) or 'a date as until'}: {entry}")
        found.append(Accepted(_canonical(entry["package"]), entry["id"], entry["reason"], entry["until"]))
    return found


def judge(
    report: Mapping[str, Any], wanted: Mapping[str, str], exceptions: Sequence[Accepted], today: date
) -> Verdict:  # fmt: skip
    """What pip-audit's JSON report means for these pins."""
    seen = {_canonical(entry["name"]): entry for entry in report.get("dependencies", ())}
    audited = [name for name in wanted if name in seen and "skip_reason" not in seen[name]]
    unseen = [name for name in wanted if name not in audited]
    faults = []
    if not wanted:
        faults.append(f"{CONSTRAINTS.name} pins nothing: there is nothing to audit")
    elif not audited:
        faults.append(
            f"nothing was audited: the service knows none of {len(wanted)} pins, so it is not the public one or cannot "
            "be reached from here; run make audit on a machine that reaches pypi.org"
        )
    elif unseen:
        faults.append(f"{len(unseen)} of {len(wanted)} pins were not audited: {_listed(unseen)}")
    used = set()
    for name in audited:
        for flaw in seen[name].get("vulns", ()):
            names = {flaw["id"], *flaw.get("aliases", ())}
            allowing = [each for each in exceptions if each.package == name and each.id in names]
            used.update(allowing)
            if not any(each.until >= today for each in allowing):
                expired = f" (accepted until {allowing[0].until})" if allowing else ""
                better = ", ".join(flaw.get("fix_versions", ())) or "no release yet"
                faults.append(f"{name} {wanted[name]} has {flaw['id']}{expired}; mended by {better}")
    if audited:
        faults += [
            f"the exception {each.id} of {each.package} is of no use: remove it from {EXCEPTIONS.name}"
            for each in exceptions
            if each not in used
        ]
    return Verdict(len(audited), tuple(faults))


def main() -> int:
    """Audit the pins of `constraints.txt`. 0 only where every one was looked up and none has an open vulnerability."""
    wanted = pins(CONSTRAINTS.read_text(encoding="utf-8"))
    exceptions = accepted(EXCEPTIONS.read_text(encoding="utf-8"))
    report, said = _report(_pip_audit(), CONSTRAINTS)
    if report is None:
        print(f"error: pip-audit could not look: {said}", file=sys.stderr)
        return 1
    verdict = judge(report, wanted, exceptions, datetime.now(UTC).date())
    for fault in verdict.faults:
        print(f"error: {fault}", file=sys.stderr)
    print(
        f"{verdict.audited} of {len(wanted)} pins audited, {len(exceptions)} exceptions, {len(verdict.faults)} faults"
    )
    return 1 if verdict.faults else 0


def _report(python: Path, constraints: Path) -> tuple[dict[str, Any] | None, str]:
    """pip-audit's report, or None and the end of what it said."""
    command = [str(python), "-m", "pip_audit", "--requirement", str(constraints), "--no-deps", "--disable-pip"]
    try:
        ran = subprocess.run(
            [*command, "--format", "json", "--progress-spinner", "off"],
            capture_output=True, text=True, timeout=_SECONDS, check=False,
        )  # fmt: skip
        report = json.loads(ran.stdout)
    except subprocess.TimeoutExpired:
        return None, f"it did not end within {_SECONDS} s"
    except ValueError:
        return None, (ran.stderr.strip().splitlines() or [f"exit code {ran.returncode}"])[-1][:400]
    return report, ""


def _pip_audit() -> Path:
    """The Python of an environment that holds pip-audit, built once and kept in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "content-orchestration-audit"
    folder = cache / f"{PIP_AUDIT}-{sys.version_info.major}.{sys.version_info.minor}"
    python = folder / "bin" / "python"
    complete = folder / "complete"
    if not complete.exists():
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        pip = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check", PIP_AUDIT]
        subprocess.run(pip, check=True, stdout=sys.stderr)
        complete.touch()
    return python


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


if __name__ == "__main__":
    sys.exit(main())
