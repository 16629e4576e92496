"""Reads where a render's file is from its `output_url`, and refuses whatever is not plainly within the allowed places.

Nothing is looked up here. A refused address is recorded with its reason and its render stays for ever: a file that is
not surely ours is not touched. `content_render_file` (revision 0011) groups addresses of one file for the index.
"""

import re
import unicodedata
from dataclasses import dataclass
from itertools import takewhile
from urllib.parse import unquote_to_bytes
from uuid import UUID

from content_orchestration.core.errors import Permanent

QUARANTINE_PREFIX = "cleanup-quarantine"
"""The folder of each bucket in which files wait; no render may be there."""
LONGEST = 2_048
"""Characters of an address."""
_LONGEST_PATH = 900  # bytes; S3 and Google take 1,024, the quarantine prefix needs some
_URL = re.compile(
    r"(?:https?://(?P<host>[^/?#]*))?/storage/v1/object/(?:sign|public)/(?P<place>[^?#]*)(?:[?#].*)?", re.DOTALL
)
_SCHEME = re.compile(r"(?P<scheme>s3|gs)://(?P<place>.*)", re.DOTALL)
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_ESCAPE = re.compile(rb"%[0-9A-Fa-f]{2}")
_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_ENTRY = re.compile(r"[A-Za-z0-9{][A-Za-z0-9._{}-]{0,80}(/[^/\s]+)*/?")


class AddressRefused(Permanent):
    """This address is never acted upon. `reason` is a short name for counts and the audit."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"output_url {reason}: {detail}; the render and its file stay")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Location:
    """One file in a bucket. `path` is as the store knows it: decoded, relative, without empty or dot segments."""

    bucket: str
    path: str

    def __str__(self) -> str:
        return f"{self.bucket}/{self.path}"


@dataclass(frozen=True)
class RenderPlaces:
    """Where renders may be. `entries` are `bucket` or `bucket/prefix`; `{tenant}` and `{user}` are the owner's ids.

    `hosts` are those whose signed and public addresses name our buckets; `schemes` those of the store (s3, gs).
    """

    entries: tuple[str, ...]
    hosts: frozenset[str] = frozenset()
    schemes: frozenset[str] = frozenset({"s3", "gs"})

    def __post_init__(self) -> None:
        """Raises `Permanent` for an entry that is no bucket with an optional prefix."""
        for entry in self.entries:
            if not _ENTRY.fullmatch(entry) or any(part in (".", "..") for part in entry.split("/")):
                raise Permanent(
                    f"RENDER_BUCKETS has {entry[:80]!r}: write bucket or bucket/prefix, with blanks between"
                )

    def folders(self) -> dict[str, list[str]]:
        """By bucket the folders in which renders are, "" for all of it: what an entry has before its first owner's id.

        Entries whose bucket is named by its owner are in `unlisted`.
        """
        found: dict[str, set[str]] = {}
        for entry in set(self.entries) - set(self.unlisted):
            bucket, *parts = entry.strip("/").split("/")
            plain = takewhile(lambda part: "{" not in part, parts)
            found.setdefault(bucket, set()).add("/".join(plain))
        return {
            bucket: [each for each in sorted(folders) if not any(_lies_in(each, other) for other in folders)]
            for bucket, folders in sorted(found.items())
        }

    @property
    def unlisted(self) -> list[str]:
        """Entries of which nobody knows the buckets without knowing the owners."""
        return [entry for entry in self.entries if "{" in entry.strip("/").partition("/")[0]]

    def locate(self, output_url: str, tenant_id: UUID | None, user_id: UUID | None) -> Location:
        """The file that the address names. Raises `AddressRefused` for what is not within the owner's places."""
        found = parse(output_url, self.hosts, self.schemes)
        if found.path.split("/")[0] == QUARANTINE_PREFIX:
            raise AddressRefused("quarantine_prefix", "it names a file that waits in quarantine")
        for entry in self.entries:
            place = entry.strip("/")
            if ("{tenant}" in place and tenant_id is None) or ("{user}" in place and user_id is None):
                continue
            place = place.replace("{tenant}", str(tenant_id)).replace("{user}", str(user_id))
            bucket, _, prefix = place.partition("/")
            if found.bucket == bucket and (not prefix or found.path.startswith(f"{prefix}/")):
                return found
        raise AddressRefused("not_allowed", f"{str(found)[:120]!r} is not within RENDER_BUCKETS for its owner")


def _lies_in(folder: str, other: str) -> bool:
    return folder != other and (not other or folder.startswith(f"{other}/"))


def parse(output_url: str, hosts: frozenset[str], schemes: frozenset[str]) -> Location:
    """Take one of the five forms of `contracts/platform_tables.md` apart. Raises `AddressRefused` for all else."""
    if not output_url:
        raise AddressRefused("empty", "there is none")
    if len(output_url) > LONGEST:
        raise AddressRefused("too_long", f"it has {len(output_url):,} characters, {LONGEST:,} are the most")
    if any(unicodedata.category(character) in _UNSEEN or character == "\\" for character in output_url):
        raise AddressRefused("control_character", "it has control characters, unseen characters or backslashes")
    if url := _URL.fullmatch(output_url):
        return _checked(_decoded(url["place"], url["host"], hosts))
    if named := _SCHEME.fullmatch(output_url):
        if named["scheme"] not in schemes:
            raise AddressRefused("other_store", f"the store that is configured is not {named['scheme']}://")
        return _checked(_literal(named["place"]))
    if "://" in output_url or output_url.startswith("/"):
        raise AddressRefused("unknown_form", "it is none of the forms that name a bucket and a path")
    return _checked(_literal(output_url))


def _decoded(place: str, host: str | None, hosts: frozenset[str]) -> str:
    if host is not None:
        if not _HOST.fullmatch(host):
            raise AddressRefused("unknown_host", "its host is no plain name or address")
        if host.lower() not in hosts and re.sub(r":[0-9]+$", "", host.lower()) not in hosts:
            raise AddressRefused("unknown_host", f"{host[:80]} is not one of RENDER_HOSTS")
    decoded = unquote_to_bytes(place)
    if _ESCAPE.search(decoded):
        raise AddressRefused("encoded_twice", "what it decodes to is percent-encoded again")
    try:
        return decoded.decode("utf-8")
    except UnicodeDecodeError:
        raise AddressRefused("not_utf8", "its percent-encoded bytes are no UTF-8") from None


def _literal(place: str) -> str:
    # A key may hold these, but who wrote the address may have meant an encoded or signed one.
    if any(character in place for character in "%?#"):
        raise AddressRefused("ambiguous", "it has %, ? or # though this form is neither encoded nor signed")
    return place


def _checked(place: str) -> Location:
    bucket, _, path = place.partition("/")
    if not _BUCKET.fullmatch(bucket) or ".." in bucket:
        raise AddressRefused("no_bucket", f"{bucket[:80]!r} is no name of a bucket")
    if any(unicodedata.category(character) in _UNSEEN or character == "\\" for character in path):
        raise AddressRefused("control_character", "it decodes to control characters, unseen characters or backslashes")
    for part in path.split("/"):
        if part.strip(". \t") == "":
            raise AddressRefused("dot_segment", "its path has an empty segment, or one of dots or blanks only")
    if len(path.encode("utf-8")) > _LONGEST_PATH:
        raise AddressRefused("too_long", f"its path has more than {_LONGEST_PATH} bytes")
    return Location(bucket, path)


def checked_path(key: str) -> str:
    """A path within a bucket that came from `locate` or is a quarantine key. Raises `AddressRefused` for any other."""
    return _checked(f"bucket/{key}").path
