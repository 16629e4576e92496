"""The command by which people handle keys of tenants: `python -m content_orchestration.resources.llm_keys --help`.

A key is read from the standard input or typed unseen, never an argument: arguments stand in process lists.
"""

import argparse
import dataclasses
import getpass
import json
import sys
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from pydantic import SecretStr

from content_orchestration.core.errors import ContentError, Permanent
from content_orchestration.core.generation.keys.rotation import rewrap, rotate_data_key
from content_orchestration.core.generation.keys.vault import PROVIDERS
from content_orchestration.resources.llm import LlmResource
from content_orchestration.resources.postgres import PostgresResource


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; prints one JSON line. Returns 1 with a message where it was refused."""
    given = _parser().parse_args(arguments)
    llm = LlmResource(postgres=PostgresResource())
    try:
        sys.stdout.write(json.dumps(_run(llm, given), default=str) + "\n")
    except ContentError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    finally:
        llm.close()
        llm.postgres.close()
    return 0


def _run(llm: LlmResource, given: argparse.Namespace) -> dict[str, Any]:
    vault, database = llm.vault(), llm.postgres.client()
    match given.command:
        case "bring":
            version = llm.bring_key(given.tenant, given.provider, _typed(), given.by)
            return {"tenant": given.tenant, "provider": given.provider, "version": version, "state": "active"}
        case "list":
            return {"tenant": given.tenant, "keys": [dataclasses.asdict(state) for state in vault.states(given.tenant)]}
        case "activate":
            vault.activate(given.tenant, given.provider, given.version)
            return {"tenant": given.tenant, "provider": given.provider, "version": given.version, "state": "active"}
        case "revoke":
            vault.revoke(given.tenant, given.provider, given.version)
            return {"tenant": given.tenant, "provider": given.provider, "version": given.version, "state": "revoked"}
        case "erase":
            if given.confirm != f"erase {given.tenant}":
                raise Permanent(
                    f"nothing was erased: to erase every key of the tenant, give --confirm 'erase {given.tenant}'"
                )
            return {"tenant": given.tenant, "erased": vault.erase(given.tenant)}
        case "rotate-data-key":
            sealed = rotate_data_key(database, llm.required_master_key(), given.tenant)
            return {"tenant": given.tenant, "keys_sealed_anew": sealed}
        case _:
            return rewrap(database, llm.required_master_key(), apply=given.apply, most=given.most).as_metadata()


def _typed() -> SecretStr:
    return SecretStr((getpass.getpass("Key: ") if sys.stdin.isatty() else sys.stdin.read()).strip())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="llm_keys", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(
        name: str, what: str, *, tenant: bool = True, key: bool = False, version: bool = False
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=what, description=what)
        if tenant:
            added.add_argument("--tenant", type=UUID, required=True)
        if key or version:
            added.add_argument("--provider", choices=PROVIDERS, required=True)
        if version:
            added.add_argument("--version", type=int, required=True)
        return added

    bring = command("bring", "Seal a key from the standard input, ask its provider, put it in use.", key=True)
    bring.add_argument("--by", required=True, help="who brings it, for the record")
    command("list", "Every key of a tenant and its state.")
    command("activate", "Put a waiting or retired version in use, without asking the provider.", version=True)
    command("revoke", "Destroy a version's ciphertext.", version=True)
    command("erase", "Remove every key of a tenant that leaves.").add_argument("--confirm", default="")
    command("rotate-data-key", "Seal a tenant's keys under a new data key.")
    anew = command(
        "rewrap", "Wrap data keys by the current master key; without --apply only say how many.", tenant=False
    )
    anew.add_argument("--apply", action="store_true")
    anew.add_argument("--most", type=int, default=1000, help="data keys of one run (default: 1000)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
