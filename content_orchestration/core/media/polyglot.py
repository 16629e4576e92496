"""Files that are a picture and something else at once: an archive, a page, a program."""

import re

from content_orchestration.core.media.header import Header
from content_orchestration.core.media.limits import Refused
from content_orchestration.core.media.window import Window

# An end record is 22 bytes and may be followed by a comment of 65,535.
_ARCHIVE_TAIL = 22 + 65_535
_SCANNED = 64 * 1024
_MARKUP = re.compile(
    rb"<script|<html|<!doctype\s+html|<body|<iframe|<\?php|<svg[\s>]|<object\s|<embed\s|%PDF-1|^#!/", re.IGNORECASE
)
_PROGRAMS = (b"MZ", b"\x7fELF", b"PK\3\4", b"Rar!", b"7z\xbc\xaf", b"#!", b"\xca\xfe\xba\xbe")


def check_archive(window: Window) -> None:
    """Raises `Refused` for a picture that ends as a ZIP archive, which unpackers and Java read from its end."""
    if _ends_as_archive(window):
        raise Refused("polyglot_archive", "the picture is a ZIP archive too: export it again")


def check_extras(window: Window, header: Header, format_name: str) -> None:
    """Raises `Refused` for markup in the metadata, and for what follows the picture and is not a camera's."""
    if found := _MARKUP.search(header.metadata):
        raise Refused(
            "polyglot_markup",
            f"the picture's metadata holds {found[0][:12].decode('ascii', 'replace')!r}, which browsers or servers may "
            "run: export it without metadata",
        )
    if header.end < window.size:
        _check_trailer(window, header.end, format_name)


def _check_trailer(window: Window, end: int, format_name: str) -> None:
    trailer = window.at(end, min(window.size - end, _SCANNED))
    last = window.tail(min(window.size - end, _SCANNED))
    if not (trailer + last).strip(b"\0\r\n\t ") and window.size - end <= _SCANNED:
        return
    # Cameras append a second JPEG (MPF, gain map), a short film (motion photo) or blocks that end in SEFT (Samsung).
    camera = format_name == "jpeg" and (
        trailer.lstrip(b"\0").startswith(b"\xff\xd8\xff") or trailer[4:8] == b"ftyp" or last.endswith(b"SEFT")
    )
    if not camera or trailer.startswith(_PROGRAMS) or _MARKUP.search(trailer) or _MARKUP.search(last):
        raise Refused(
            "trailing_data",
            f"{window.size - end} bytes follow the picture and are not part of it: export it again",
        )


def _ends_as_archive(window: Window) -> bool:
    """Whether a ZIP's end record points back at a directory, as every unpacker looks for it."""
    tail = window.tail(_ARCHIVE_TAIL)
    at = len(tail)
    while (at := tail.rfind(b"PK\5\6", 0, at)) >= 0:
        if tail[at - 20 : at].startswith(b"PK\6\7"):
            return True
        place = window.size - len(tail) + at - int.from_bytes(tail[at + 12 : at + 16], "little")
        if len(tail) - at >= 22 and place >= 0 and window.at(place, 4) == b"PK\1\2":
            return True
    return False
