"""Boxes of the ISO base media file format (ISO 14496-12), of MP4, MOV and AVIF: stepped over, never decoded."""

from collections.abc import Iterator
from dataclasses import dataclass

from content_orchestration.core.media.limits import Refused, malformed, truncated
from content_orchestration.core.media.window import Window

_MOST_BOXES = 4_000


@dataclass(frozen=True)
class Box:
    """One box: its four-letter kind, and where its body begins and ends in the file."""

    kind: bytes
    body: int
    end: int


def boxes(window: Window, begin: int, end: int) -> Iterator[Box]:
    """The boxes that fill `begin` to `end`. Raises `Refused` where they do not."""
    for _ in range(_MOST_BOXES):
        if begin == end:
            return
        head = window.at(begin, 16)
        length, kind, start = int.from_bytes(head[:4], "big"), head[4:8], begin + 8
        if length == 1:
            length, start = int.from_bytes(head[8:16], "big"), begin + 16
        elif length == 0:
            length = end - begin
        if len(head) < 8 or begin + length > end:
            raise truncated("a box")
        if length < start - begin:
            raise malformed(f"the box at byte {begin} claims less than its own header")
        yield Box(kind, start, begin + length)
        begin += length
    raise Refused("bomb_segments", f"the file has more than {_MOST_BOXES} boxes in one place: export it again")


def inside(window: Window, box: Box | None, kind: bytes, skip: int = 0) -> Box | None:
    """The first box of that kind in another's body, after `skip` bytes of its own fields."""
    if box is None or box.body + skip > box.end:
        return None
    return next((one for one in boxes(window, box.body + skip, box.end) if one.kind == kind), None)


def movie_seconds(window: Window, moov: Box) -> float | None:
    """The duration in a movie header, seconds; None where it has none."""
    return header_seconds(window, inside(window, moov, b"mvhd"))


def header_seconds(window: Window, header: Box | None) -> float | None:
    """The duration in a movie's or a track's media header (`mvhd`, `mdhd`), seconds; None where it is unknown."""
    if header is None:
        return None
    body = window.at(header.body, 32)
    if body[:1] == b"\1":
        scale, ticks, unknown = int.from_bytes(body[20:24], "big"), int.from_bytes(body[24:32], "big"), 2**64 - 1
    else:
        scale, ticks, unknown = int.from_bytes(body[12:16], "big"), int.from_bytes(body[16:20], "big"), 2**32 - 1
    return round(ticks / scale, 3) if scale and 0 < ticks != unknown else None
