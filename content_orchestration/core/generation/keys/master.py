"""The master key that wraps the data keys of tenants: the interface, and the one whose key comes from a setting.

In production a key management service stands behind the same interface and the master key never leaves it: AWS KMS
takes `bound` as its encryption context, Google Cloud KMS as its additional authenticated data; the key's id is theirs.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Protocol

from content_orchestration.core.errors import Permanent
from content_orchestration.core.generation.keys.envelope import KEY_BYTES, seal, unseal

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
VARIABLE = "PROVIDER_MASTER_KEY"


class MasterKey(Protocol):
    """Wraps and unwraps data keys. `bound` must be the same both times, or unwrapping fails."""

    @property
    def current_id(self) -> str:
        """The id of the key that wraps. Older keys only unwrap."""
        ...

    def wrap(self, data_key: bytes, bound: bytes) -> bytes:
        """The data key under the current master key. Raises `Transient` where the service cannot be reached."""
        ...

    def unwrap(self, key_id: str, wrapped: bytes, bound: bytes) -> bytes:
        """The data key. Raises `Permanent` for a key that is not there, `SealBroken` for what does not open."""
        ...


class EnvironmentMasterKey:
    """Master keys from a setting: `id:base64` of 32 bytes, the current one first, older ones behind it."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        if not keys:
            raise Permanent(f"{VARIABLE} is empty: without it no key of a tenant can be sealed or opened")
        self._keys = dict(keys)
        self._current = next(iter(self._keys))

    @classmethod
    def parse(cls, text: str) -> "EnvironmentMasterKey":
        """The keys of the setting. Raises `Permanent` that names the entry by its position and never shows it."""
        keys: dict[str, bytes] = {}
        for at, entry in enumerate(text.split()):
            key_id, colon, encoded = entry.partition(":")
            if not colon or not _ID.fullmatch(key_id):
                raise Permanent(
                    f"entry {at + 1} of {VARIABLE} has no id: write id:base64, the id of letters, digits, . _ or -"
                )
            try:
                key = base64.b64decode(encoded, validate=True)
            except (binascii.Error, ValueError):
                key = b""
            if len(key) != KEY_BYTES:
                raise Permanent(
                    f"entry {at + 1} of {VARIABLE} ({key_id}) is not base64 of {KEY_BYTES} bytes: make one with "
                    "`openssl rand -base64 32`"
                )
            if key_id in keys:
                raise Permanent(f"{VARIABLE} has two entries with the id {key_id}: each key has an id of its own")
            keys[key_id] = key
        return cls(keys)

    def __repr__(self) -> str:
        return f"EnvironmentMasterKey({', '.join(self._keys)})"

    @property
    def current_id(self) -> str:
        """The first key's id."""
        return self._current

    def wrap(self, data_key: bytes, bound: bytes) -> bytes:
        """The data key under the first key."""
        return seal(self._keys[self._current], data_key, bound)

    def unwrap(self, key_id: str, wrapped: bytes, bound: bytes) -> bytes:
        """The data key. Raises `Permanent` where the key of that id is not in the setting."""
        key = self._keys.get(key_id)
        if key is None:
            raise Permanent(
                f"data keys are wrapped by master key {key_id!r}, and {VARIABLE} holds only {', '.join(self._keys)}: "
                "add the old key behind the current one until everything is wrapped anew"
            )
        return unseal(key, wrapped, bound)
