"""What the vault says of keys. The one value with a secret in it shows it to nobody who prints it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import SecretStr

from content_orchestration.core.database import Row
from content_orchestration.core.errors import Permanent


class KeyNotFound(Permanent):
    """The tenant has no such key, or it was revoked."""


class KeyMoved(Permanent):
    """A ciphertext does not belong where it stands, or was damaged. It is not used."""


class KeyRefused(Permanent):
    """A new key is no key, or its provider does not take it. The key in use stays in use."""


@dataclass(frozen=True)
class ProviderKey:
    """An opened key: whose it is, and the secret, which `repr` and `str` do not show."""

    tenant_id: UUID
    provider: str
    version: int
    secret: SecretStr


@dataclass(frozen=True)
class KeyState:
    """What became of one version of a key: pending, active, retired (may come back) or revoked (gone)."""

    provider: str
    version: int
    state: str
    created_by: str
    created_at: datetime
    activated_at: datetime | None
    ended_at: datetime | None

    @classmethod
    def of(cls, row: Row) -> "KeyState":
        """The state in a row."""
        return cls(**{name: row[name] for name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class RewrapReport:
    """Data keys by the master key that wraps them, and what a rotation did or would do."""

    current: str
    wrapped_by: dict[str, int]
    rewrapped: int
    applied: bool

    @property
    def waiting(self) -> int:
        """Data keys that an older master key still wraps."""
        return sum(count for key_id, count in self.wrapped_by.items() if key_id != self.current)

    def as_metadata(self) -> dict[str, Any]:
        """For a report. The old master key may go when `waiting` is 0."""
        return {
            "master_key_id": self.current,
            "data_keys_by_master_key": self.wrapped_by,
            "rewrapped": self.rewrapped,
            "waiting": self.waiting,
            "applied": self.applied,
        }
