"""Which addresses of the internet a download may reach, and which URLs are URLs. No connection is made here.

The rule is a list of what is public, not of what is forbidden: everything else is somebody's inside.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from content_orchestration.core.media.limits import Refused

Address = IPv4Address | IPv6Address
Permits = Callable[[Address], bool]
"""Whether a connection to this address may be made."""

_LONGEST_URL = 8192
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")
# Public by their number, and yet an inside: Azure's wire server, protocol assignments (Oracle's metadata is among them,
# and Python 3.11 holds most of them to be global), the retired relays of 6to4.
_INSIDE_4 = tuple(IPv4Network(block) for block in ("168.63.129.16/32", "192.0.0.0/24", "192.88.99.0/24"))
_GLOBAL_6 = IPv6Network("2000::/3")
# Protocol assignments with Teredo, documentation, 6to4 (which can name any inside), documentation, segment routing.
_INSIDE_6 = tuple(IPv6Network(block) for block in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16"))
_NAT64 = IPv6Network("64:ff9b::/96")


@dataclass(frozen=True)
class Target:
    """A checked URL. `host` is a name in ASCII without a trailing dot, or an address."""

    scheme: str
    host: str
    port: int
    path: str
    url: str

    @property
    def host_header(self) -> str:
        """What the server is told it was asked for."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == _DEFAULT_PORTS[self.scheme] else f"{name}:{self.port}"


_DEFAULT_PORTS = {"http": 80, "https": 443}


def is_public(address: Address) -> bool:
    """Whether the address belongs to the public internet and to no cloud's inside.

    What carries an IPv4 address within (mapped, NAT64) is judged by that one: NAT64 is how IPv6-only networks reach
    ordinary hosts. Multicast, reserved, shared (100.64/10), link-local and unique local addresses are not public.
    """
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address in _NAT64:
            return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
        return address in _GLOBAL_6 and not any(address in block for block in _INSIDE_6)
    return address.is_global and not address.is_multicast and not any(address in block for block in _INSIDE_4)


def parse_target(url: str) -> Target:
    """The URL taken apart. Raises `Refused` (`url_...`) for what is no plain http(s) address.

    Hosts that parsers read differently are refused, not interpreted: numbers other than a dotted quad (`2130706433`,
    `0177.0.0.1`, `127.1`), backslashes, blanks, credentials.
    """
    shown = url[:80]
    if len(url) > _LONGEST_URL or any(ord(c) <= 32 or ord(c) == 127 or c == "\\" for c in url):
        raise Refused(
            "url_malformed", f"{shown!r} is no URL: it is too long, or has blanks or backslashes; encode them"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
        name = parts.hostname or ""
    except ValueError:
        raise Refused("url_malformed", f"{shown!r} is no URL: its host or port cannot be read") from None
    if parts.scheme not in _DEFAULT_PORTS:
        raise Refused("url_scheme", f"{shown!r} is not fetched: only http and https are; drop the file into the inbox")
    if parts.username is not None or parts.password is not None:
        raise Refused("url_credentials", "a URL with a user or password in it is not fetched: use a signed address")
    host = _checked_host(name, shown)
    port = _DEFAULT_PORTS[parts.scheme] if port is None else port
    if port < 1024 and port not in _DEFAULT_PORTS.values():
        raise Refused("url_port", f"{shown!r} names port {port}, which belongs to another protocol: use 80 or 443")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host, port, _ascii_path(path), url)


def _checked_host(name: str, shown: str) -> str:
    if ":" in name:
        try:
            # A zone (fe80::1%eth0) names a link of this machine.
            return str(IPv6Address(name if "%" not in name else ""))
        except ValueError:
            raise Refused("url_host", f"{shown!r} has no valid IPv6 address as its host") from None
    try:
        ascii_name = name.encode("idna").decode().lower()
    except UnicodeError:
        raise Refused("url_host", f"{shown!r} has a host name that cannot be") from None
    ascii_name = ascii_name.removesuffix(".")
    labels = ascii_name.split(".")
    if _NUMERIC.fullmatch(labels[-1]):
        try:
            return str(IPv4Address(ascii_name))
        except ValueError:
            raise Refused(
                "url_host", f"{shown!r} writes its address in a form that is not four plain numbers"
            ) from None
    if len(ascii_name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise Refused("url_host", f"{shown!r} has a host name that cannot be")
    return ascii_name


def _ascii_path(path: str) -> str:
    """The path as it travels: what is not ASCII percent-encoded, nothing else touched."""
    return "".join(c if c.isascii() else "".join(f"%{b:02X}" for b in c.encode("utf-8", "replace")) for c in path)


def checked_addresses(host: str, found: list[str], permits: Permits) -> list[Address]:
    """What a name resolved to. Raises `Refused` (`address_private`) where any of it may not be reached.

    All of them, since a name that has an inside address beside a public one is up to no good.
    """
    addresses = [ip_address(text.partition("%")[0]) for text in found]
    for text, address in zip(found, addresses, strict=True):
        if "%" in text or not permits(address):
            raise Refused(
                "address_private",
                f"{host} leads to {text}, which is not on the public internet, and files are fetched from public "
                "hosts only: drop the file into the inbox",
            )
    return addresses
