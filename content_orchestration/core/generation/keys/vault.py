"""Keeps the keys that tenants bring: sealing, opening, bringing a new one into use, taking one out of it.

Rotating what they are sealed under is in `rotation.py`. Plain keys go in here and come out as `ProviderKey`; they are
in no message, no row and no log.
"""

import re
from collections.abc import Callable
from uuid import UUID

from psycopg import Connection
from pydantic import SecretStr

from content_orchestration.core.database import Database, Row
from content_orchestration.core.generation.keys.envelope import SealBroken, bound_to, new_key, seal, unseal
from content_orchestration.core.generation.keys.master import MasterKey
from content_orchestration.core.generation.keys.model import KeyMoved, KeyNotFound, KeyRefused, KeyState, ProviderKey
from content_orchestration.core.sql import statement

MAX_KEY_CHARACTERS = 500
PROVIDERS = ("openai", "anthropic")
_PRINTABLE = re.compile(r"[\x21-\x7e]+")

Probe = Callable[[ProviderKey], None]
"""Asks a provider whether it takes a key; raises where it does not."""


class KeyVault:
    """The keys of all tenants. The database role is the jobs' one; others may not read ciphertexts."""

    def __init__(self, database: Database, master: MasterKey) -> None:
        self._database = database
        self._master = master

    def active(self, tenant: UUID, provider: str) -> ProviderKey | None:
        """The key in use, or None where the tenant brought none.

        Raises `KeyMoved` for a ciphertext that is not this key's, `Permanent` where its master key is not at hand.
        """
        with self._database.connection() as connection:
            row = connection.execute(
                statement("generation_keys/active_key"), {"tenant": tenant, "provider": provider}
            ).fetchone()
        return None if row is None else self._opened(tenant, provider, row)

    def read(self, tenant: UUID, provider: str, version: int) -> ProviderKey:
        """One version, whatever its state. Raises `KeyNotFound`, also for a revoked one."""
        with self._database.connection() as connection:
            row = connection.execute(
                statement("generation_keys/key_version"), {"tenant": tenant, "provider": provider, "version": version}
            ).fetchone()
        if row is None:
            raise _not_found(tenant, provider, version)
        return self._opened(tenant, provider, row)

    def states(self, tenant: UUID) -> list[KeyState]:
        """Every key that the tenant ever brought, without anything secret."""
        with self._database.connection() as connection:
            return [
                KeyState.of(row) for row in connection.execute(statement("generation_keys/states"), {"tenant": tenant})
            ]

    def put(self, tenant: UUID, provider: str, secret: SecretStr, created_by: str) -> int:
        """Seal a key and return its version. It waits (pending) and the key in use stays in use.

        Raises `KeyRefused` for what can be no key.
        """
        _plausible(provider, secret)
        with self._database.connection() as connection:
            connection.execute(statement("generation_keys/lock_tenant"), {"tenant": tenant})
            data_version, data_key = self._data_key(connection, tenant)
            names = {"tenant": tenant, "provider": provider}
            found = connection.execute(statement("generation_keys/next_version"), names).fetchone()
            version: int = found["version"] if found else 1
            sealed = seal(
                data_key, secret.get_secret_value().encode(), key_bound(tenant, provider, version, data_version)
            )
            connection.execute(
                statement("generation_keys/insert_key"),
                names
                | {"version": version, "data_key_version": data_version, "sealed": sealed, "created_by": created_by},
            )
        return version

    def activate(self, tenant: UUID, provider: str, version: int) -> None:
        """Put a version in use; the one in use before retires and can be activated again.

        Calls that hold the old key finish with it. Raises `KeyNotFound` for an unknown or revoked version.
        """
        values = {"tenant": tenant, "provider": provider, "version": version}
        with self._database.connection() as connection:
            connection.execute(statement("generation_keys/lock_tenant"), {"tenant": tenant})
            connection.execute(statement("generation_keys/retire"), values)
            if connection.execute(statement("generation_keys/activate"), values).rowcount != 1:
                raise _not_found(tenant, provider, version)

    def bring(self, tenant: UUID, provider: str, secret: SecretStr, created_by: str, probe: Probe) -> int:
        """Seal a key, ask the provider whether it takes it, and only then put it in use. Returns its version.

        Where the provider refuses the key (`KeyRefused`), it is revoked. Where `probe` could not ask, it waits: bring
        it again, or activate it by its version. Either way the old key stays in use and the error goes on.
        """
        version = self.put(tenant, provider, secret, created_by)
        try:
            probe(self.read(tenant, provider, version))
        except KeyRefused:
            self.revoke(tenant, provider, version)
            raise
        self.activate(tenant, provider, version)
        return version

    def revoke(self, tenant: UUID, provider: str, version: int) -> None:
        """Destroy one version's ciphertext for good. Raises `KeyNotFound` where there is none to destroy."""
        values = {"tenant": tenant, "provider": provider, "version": version}
        with self._database.connection() as connection:
            connection.execute(statement("generation_keys/lock_tenant"), {"tenant": tenant})
            if connection.execute(statement("generation_keys/revoke"), values).rowcount != 1:
                raise _not_found(tenant, provider, version)

    def erase(self, tenant: UUID) -> int:
        """Remove every key of a tenant that leaves, and its data keys; returns how many keys there were."""
        with self._database.connection() as connection:
            connection.execute(statement("generation_keys/lock_tenant"), {"tenant": tenant})
            erased = connection.execute(statement("generation_keys/erase_keys"), {"tenant": tenant}).rowcount
            connection.execute(statement("generation_keys/erase_data_keys"), {"tenant": tenant})
        return erased

    def _data_key(self, connection: Connection[Row], tenant: UUID) -> tuple[int, bytes]:
        """The tenant's newest data key, made where there is none. The caller holds the tenant's lock."""
        row = connection.execute(statement("generation_keys/data_key"), {"tenant": tenant}).fetchone()
        if row is not None:
            return row["version"], open_data_key(self._master, tenant, row["version"], row)
        return 1, add_data_key(connection, self._master, tenant, 1)

    def _opened(self, tenant: UUID, provider: str, row: Row) -> ProviderKey:
        secret = open_key(self._master, tenant, provider, row)
        return ProviderKey(tenant, provider, row["version"], SecretStr(secret.decode()))


def has_active(database: Database, tenant: UUID, provider: str) -> bool:
    """Whether the tenant has a key in use; nothing is opened, so this needs no master key."""
    with database.connection() as connection:
        values = {"tenant": tenant, "provider": provider}
        return connection.execute(statement("generation_keys/active_key"), values).fetchone() is not None


def key_bound(tenant: UUID, provider: str, version: int, data_key_version: int) -> bytes:
    """What the ciphertext of a key belongs to: moved to another row, it does not open."""
    return bound_to("tenant_provider_keys", tenant, provider, version, data_key_version)


def add_data_key(connection: Connection[Row], master: MasterKey, tenant: UUID, version: int) -> bytes:
    """Make a data key, keep it wrapped, and return it."""
    key = new_key()
    wrapped = master.wrap(key, data_key_bound(tenant, version))
    connection.execute(
        statement("generation_keys/insert_data_key"),
        {"tenant": tenant, "version": version, "master_key_id": master.current_id, "wrapped": wrapped},
    )
    return key


def data_key_bound(tenant: UUID, version: int) -> bytes:
    """What a wrapped data key belongs to."""
    return bound_to("tenant_data_keys", tenant, version)


def open_data_key(master: MasterKey, tenant: UUID, version: int, row: Row) -> bytes:
    """The data key of a row with master_key_id and wrapped. Raises `KeyMoved`."""
    try:
        return master.unwrap(row["master_key_id"], row["wrapped"], data_key_bound(tenant, version))
    except SealBroken:
        pass
    raise KeyMoved(
        f"data key {version} of tenant {tenant} does not open with master key {row['master_key_id']}: it was moved "
        "from another row, damaged, or PROVIDER_MASTER_KEY gives that id to another key. Restore the row or the key"
    )


def open_key(master: MasterKey, tenant: UUID, provider: str, row: Row) -> bytes:
    """The plain key of a row with its data key's columns. Raises `KeyMoved`."""
    data_key = open_data_key(master, tenant, row["data_key_version"], row)
    bound = key_bound(tenant, provider, row["version"], row["data_key_version"])
    try:
        return unseal(data_key, row["sealed"], bound)
    except SealBroken:
        pass
    raise KeyMoved(
        f"version {row['version']} of the {provider} key of tenant {tenant} does not open: its ciphertext was moved "
        "from another row or damaged. It is not used; bring the key again"
    )


def _plausible(provider: str, secret: SecretStr) -> None:
    if provider not in PROVIDERS:
        raise KeyRefused(f"provider is {provider!r}, which takes no keys here: use one of {', '.join(PROVIDERS)}")
    text = secret.get_secret_value()
    if not _PRINTABLE.fullmatch(text) or len(text) > MAX_KEY_CHARACTERS:
        raise KeyRefused(
            f"the {provider} key has {len(text)} characters or one that no key has: give 1 to {MAX_KEY_CHARACTERS} "
            "printable ASCII characters without blanks, as the provider showed them"
        )


def _not_found(tenant: UUID, provider: str, version: int) -> KeyNotFound:
    return KeyNotFound(
        f"tenant {tenant} has no {provider} key with version {version}, or it was revoked: "
        "list its keys to see what there is"
    )
