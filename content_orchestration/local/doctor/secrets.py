"""The secrets of the environment as plain text, for one purpose: to strike them out of what is shown."""

import os
from collections.abc import Iterator, Mapping
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import SecretStr

from content_orchestration.settings import Settings


def secrets_of(settings: Settings, environment: Mapping[str, str] = os.environ) -> frozenset[str]:
    """Every secret field, whole and in the parts that an error message might quote: passwords, tokens, keys."""
    found = {environment.get("PGPASSWORD", "")}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            for word in value.get_secret_value().split():
                found |= {word, *_parts(word)}
    return frozenset(found - {""})


def _parts(word: str) -> Iterator[str]:
    scheme, mark, rest = word.partition("://")
    if not mark:
        # `id:base64` of a master key: the id may be shown.
        yield word.rpartition(":")[2]
        return
    login, at, place = rest.rpartition("@")
    if at:
        yield from _both(login.partition(":")[2])
    if scheme in ("postgresql", "postgres", "redis", "rediss"):
        return
    # Services take their tokens as host, path or query, each in its own way.
    yield from _both(login)
    parts = urlsplit(f"//{place}") if "[" not in place else urlsplit("//")
    for token in (*parts.path.split("/"), *(value for _, value in parse_qsl(parts.query))):
        yield from _both(token)
    if scheme not in ("mailto", "mailtos", "json", "jsons"):
        yield from _both(parts.netloc.partition(":")[0])


def _both(token: str) -> Iterator[str]:
    yield token
    yield unquote(token)
