"""The two things that EXIF may tell us: how to turn a picture and when it was taken.

GPS, serial numbers, names and the embedded thumbnail are in other tags, which are not read at all.
"""

import re
from dataclasses import dataclass
from datetime import datetime

_ORIENTATION, _EXIF_IFD, _TAKEN, _TAKEN_OFFSET = 0x0112, 0x8769, 0x9003, 0x9011
_SHORT, _ASCII, _LONG = 3, 2, 4
_MOST_ENTRIES = 512
_ZONE = re.compile(r"[+-](?:0\d|1[0-4]):[0-5]\d")


@dataclass(frozen=True)
class Exif:
    """`orientation` is 1 to 8 as TIFF 6.0 numbers them; `captured_at` ISO 8601, without a zone where none was kept."""

    orientation: int = 1
    captured_at: str | None = None


NO_EXIF = Exif()


def read_exif(block: bytes) -> Exif:
    """What a TIFF block says (`Exif\\0\\0` may precede it). Never raises: damage reads as absence."""
    block = block.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "little", b"MM\0*": "big"}.get(block[:4])
    if order is None:
        return NO_EXIF
    tiff = _Tiff(block, order == "little")
    first = tiff.entries(tiff.number(4, 4))
    orientation = tiff.short(first.get(_ORIENTATION)) or 1
    pointer = tiff.long(first.get(_EXIF_IFD))
    second = tiff.entries(pointer) if pointer else {}
    taken = _moment(tiff.text(second.get(_TAKEN)), tiff.text(second.get(_TAKEN_OFFSET)))
    return Exif(orientation if 1 <= orientation <= 8 else 1, taken)


@dataclass(frozen=True)
class _Entry:
    kind: int
    count: int
    value_at: int


class _Tiff:
    def __init__(self, block: bytes, little: bool) -> None:
        self._block = block
        self._little = little

    def number(self, offset: int, length: int) -> int:
        return int.from_bytes(self._block[offset : offset + length], "little" if self._little else "big")

    def entries(self, offset: int) -> dict[int, _Entry]:
        if not 8 <= offset <= len(self._block) - 2:
            return {}
        count = min(self.number(offset, 2), _MOST_ENTRIES)
        found: dict[int, _Entry] = {}
        for at in range(offset + 2, min(offset + 2 + 12 * count, len(self._block) - 11), 12):
            entry = _Entry(self.number(at + 2, 2), self.number(at + 4, 4), at + 8)
            found.setdefault(self.number(at, 2), entry)
        return found

    def short(self, entry: _Entry | None) -> int | None:
        return self.number(entry.value_at, 2) if entry and entry.kind == _SHORT and entry.count == 1 else None

    def long(self, entry: _Entry | None) -> int | None:
        return self.number(entry.value_at, 4) if entry and entry.kind == _LONG and entry.count == 1 else None

    def text(self, entry: _Entry | None) -> str:
        if not entry or entry.kind != _ASCII or not 4 < entry.count <= 64:
            return ""
        at = self.number(entry.value_at, 4)
        return self._block[at : at + entry.count].split(b"\0")[0].decode("ascii", "replace").strip()


def _moment(text: str, zone: str) -> str | None:
    try:
        moment = datetime.strptime(text, "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return None
    return moment.isoformat() + (zone if _ZONE.fullmatch(zone) else "")
