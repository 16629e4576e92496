"""AVIF (AV1 Image File Format): sizes from the item properties, frames from the sample table."""

from content_orchestration.core.media.boxes import Box, boxes, header_seconds, inside
from content_orchestration.core.media.header import Header
from content_orchestration.core.media.limits import Limits, Refused, malformed
from content_orchestration.core.media.window import Window

# Bytes out for each byte in: AV1 packs flat pictures better than any other here.
_MOST_RATIO = 10_000
_MOST_META = 1024 * 1024
_MOST_ITEMS = 1_000


def read_avif(window: Window, limits: Limits) -> Header:
    """What the boxes claim; the largest of all sizes, since tiles are smaller than their picture. Raises `Refused`."""
    meta: Box | None = None
    moov: Box | None = None
    data = False
    for box in boxes(window, 0, window.size):
        if box.kind == b"meta":
            meta = meta or box
        elif box.kind == b"moov":
            moov = moov or box
        elif box.kind == b"mdat":
            data = True
        elif box.kind not in (b"ftyp", b"free", b"skip", b"uuid", b"styp"):
            raise Refused("trailing_data", f"an AVIF has no box {box.kind!r}: remove what is not the picture")
    if meta is None:
        raise malformed("the AVIF has no description of its picture")
    if meta.end - meta.body > _MOST_META:
        raise Refused("bomb_segments", "the AVIF's description is over 1 MiB: export it again")
    width, height = _largest(window, meta, limits)
    frames, duration = _animation(window, moov) if moov else (1, None)
    limits.check_frames(frames, frames * width * height)
    if not data and inside(window, meta, b"idat", skip=4) is None:
        raise malformed("the AVIF has no pixels")
    limits.check_ratio(4 * width * height, window.size, _MOST_RATIO)
    return Header(width, height, end=window.size, frames=frames, duration_s=duration)


def _largest(window: Window, meta: Box, limits: Limits) -> tuple[int, int]:
    properties = inside(window, inside(window, meta, b"iprp", skip=4), b"ipco")
    sizes: list[tuple[int, int]] = []
    if properties is not None:
        for box in boxes(window, properties.body, properties.end):
            if box.kind == b"ispe":
                body = window.at(box.body, 12)
                sizes.append((int.from_bytes(body[4:8], "big"), int.from_bytes(body[8:12], "big")))
                limits.check_size(*sizes[-1])
    if not sizes or len(sizes) > _MOST_ITEMS:
        raise malformed("the AVIF names no size, or far too many")
    return max(sizes, key=lambda size: size[0] * size[1])


def _animation(window: Window, moov: Box) -> tuple[int, float | None]:
    """The most samples that one track has, and how long that track is; the film itself may repeat for ever."""
    found: tuple[int, float | None] = (1, None)
    for track in boxes(window, moov.body, moov.end):
        media = inside(window, track, b"mdia") if track.kind == b"trak" else None
        sizes = inside(window, inside(window, inside(window, media, b"minf"), b"stbl"), b"stsz")
        if media is not None and sizes is not None:
            frames = int.from_bytes(window.at(sizes.body + 8, 4), "big")
            if frames > found[0]:
                found = frames, header_seconds(window, inside(window, media, b"mdhd"))
    return found
