"""The names of stored files: keys within a tenant's bucket or prefix, and what a key may look like."""

import re
from uuid import UUID

from content_orchestration.core.errors import Permanent

_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_HASH = re.compile(r"[0-9a-f]{64}")
_LONGEST = 900


def object_key(sha256: str, asset_id: UUID | None = None) -> str:
    """`<sha256>`; with a row, `<sha256>.<row>`, where each row keeps bytes of its own."""
    if not _HASH.fullmatch(sha256):
        raise Permanent(f"sha256 is {sha256[:80]!r}: it must be 64 hexadecimal digits in lower case")
    return sha256 if asset_id is None else f"{sha256}.{asset_id}"


def variant_key(sha256: str, width: int, extension: str, settings: str) -> str:
    """`variants/<sha256>/<width>-<settings>.<extension>`: other settings make another file, never an overwritten one.

    `settings` is a short name of how the variant was made, for example a hash of the quality and the chain's version.
    """
    return checked_key(f"variants/{object_key(sha256)}/{width}-{settings}.{extension}")


def is_key(key: str) -> bool:
    """Whether the key can be one of ours in every store; others are only ever listed."""
    return len(key) <= _LONGEST and _SAFE.fullmatch(key) is not None


def checked_key(key: str) -> str:
    """The key, if it can be one of ours in every store. Raises `Permanent` for anything else, such as `..` or `/a`."""
    if not is_key(key):
        raise Permanent(
            f"key {key[:80]!r} is no key: segments of letters, digits, . _ - that begin with a letter or a digit, "
            f"separated by single /, {_LONGEST} characters at most"
        )
    return key


def checked_drop(key: str) -> str:
    """The name of a dropped file, which people choose: what stays within the drop folder. Raises `Permanent`."""
    if (
        not key
        or len(key.encode("utf-8", "replace")) > _LONGEST
        or any(part in ("", ".", "..") for part in key.split("/"))
        or any(ord(character) < 32 or ord(character) == 127 or character == "\\" for character in key)
    ):
        raise Permanent(
            f"{key[:80]!r} is no name of a dropped file: no empty segment, no . or .., no control character, no "
            f"backslash, {_LONGEST} bytes at most; rename the file"
        )
    return key
