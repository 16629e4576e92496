"""Seals and opens small secrets: AES-256-GCM, bound to what they belong to. What is sealed where is `vault.py`'s."""

import secrets

KEY_BYTES = 32
_NONCE_BYTES = 12


class SealBroken(Exception):
    """A ciphertext does not open: another key, other associated data, or damage. Which of them cannot be told."""


def new_key() -> bytes:
    """A random data key."""
    return secrets.token_bytes(KEY_BYTES)


def bound_to(*parts: object) -> bytes:
    """Associated data of the parts, each with its length before it, so that no two lists of parts read the same."""
    return b"".join(len(text).to_bytes(4) + text for text in (str(part).encode() for part in parts))


def seal(key: bytes, plain: bytes, bound: bytes) -> bytes:
    """Nonce and ciphertext. A data key seals a few thousand times at most, far below what random nonces allow."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plain, bound)


def unseal(key: bytes, sealed: bytes, bound: bytes) -> bytes:
    """What was sealed. Raises `SealBroken`, which says nothing of key or text."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        return AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound)
    except (InvalidTag, ValueError):
        # A ValueError is a nonce cut short.
        raise SealBroken from None
