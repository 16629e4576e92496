"""Which account PostgreSQL runs as: it refuses root. The other servers run as whoever started them."""

import os
import pwd
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from subprocess import TimeoutExpired

from content_orchestration.local.errors import LocalStackError
from content_orchestration.local.process import Command

# The account of the system's own PostgreSQL packages where there is one, else the account that owns nothing.
_NAMES = ("postgres", "nobody")
# Reading needs the first alone; containers usually grant only the second.
_CAPABILITIES = ("dac_read_search", "dac_override")


@dataclass(frozen=True)
class Account:
    """Ids to run PostgreSQL as (None: as ourselves) and the capability that lets it pass closed folders, if needed."""

    user: int | None = None
    group: int | None = None
    capability: str | None = None

    def wrap(self, command: Command) -> Command:
        """The command, run as this account."""
        if self.user is None:
            return command
        if self.capability is None:
            return replace(command, user=self.user, group=self.group)
        drop = [
            "setpriv",
            f"--reuid={self.user}",
            f"--regid={self.group}",
            "--clear-groups",
            f"--inh-caps=+{self.capability}",
            f"--ambient-caps=+{self.capability}",
            # initdb asks access() whether it may run the server, and that forgets capabilities without this.
            "--securebits=+no_setuid_fixup",
        ]
        return replace(command, argv=[*drop, *command.argv])

    def own(self, folder: Path) -> None:
        """Gives the folder and all in it to this account where it belongs to root. Symbolic links are not followed."""
        if self.user is None or self.group is None or folder.stat().st_uid == self.user:
            return
        for parent, _folders, files in os.walk(folder):
            os.chown(parent, self.user, self.group)
            for name in files:
                os.chown(Path(parent, name), self.user, self.group, follow_symlinks=False)


def _ids(owner: int | None) -> tuple[int, int]:
    if owner:
        try:
            return owner, pwd.getpwuid(owner).pw_gid
        except KeyError:
            return owner, owner
    for name in _NAMES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    raise LocalStackError(
        f"PostgreSQL does not run as root, and this machine has none of the accounts {', '.join(_NAMES)} to run it as.",
        "run as an ordinary user, or create an account: useradd --system postgres.",
    )


def _candidates(owner: int | None) -> Iterator[Account]:
    user, group = _ids(owner)
    yield Account(user, group)
    if shutil.which("setpriv"):
        for capability in _CAPABILITIES:
            yield Account(user, group, capability)


def choose(folder: Path, program: Path, *, owner: int | None) -> Account:
    """The account to run `program` as on data below `folder`; ourselves unless we are root.

    `owner` is the id that existing data belongs to, kept unless it is root's. Nothing outside is made more
    open: where the account cannot pass a parent folder such as /root, it gets a capability that lets it.
    """
    if os.geteuid() != 0:
        return Account()
    refusals = []
    for account in _candidates(owner):
        # Entering the folder and running the program is what needs the permission, so exactly that is tried.
        argv = ["sh", "-c", 'cd "$1" && exec "$2" --version', "sh", str(folder), str(program)]
        try:
            result = account.wrap(Command(argv, Path("/"), {"PATH": os.environ.get("PATH", os.defpath)})).run(
                timeout=30
            )
        except (OSError, TimeoutExpired) as error:
            refusals.append(str(error))
            continue
        if result.returncode == 0:
            return account
        refusals.append(result.stdout.strip())
    raise LocalStackError(
        f"PostgreSQL does not run as root, and the account that it would run as cannot reach {folder} or {program} "
        f"({refusals[-1] if refusals else 'no account'}); no permission was changed.",
        "run as an ordinary user, or put the project and its Python where every account may enter, such as /srv or "
        "/opt, or set LOCAL_STATE_DIR to such a folder.",
    )
