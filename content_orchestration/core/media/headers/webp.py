"""WebP (RFC 9649): RIFF chunks are walked; canvas and frames must agree with the limits and with each other."""

from content_orchestration.core.media.exif import NO_EXIF, read_exif
from content_orchestration.core.media.header import METADATA_BYTES, Header
from content_orchestration.core.media.limits import Limits, Refused, malformed, truncated
from content_orchestration.core.media.window import Window

_MOST_CHUNKS = 4_000
# Bytes out for each byte in: lossless WebP packs flat pictures far better than PNG.
_MOST_RATIO = 5_000


def read_webp(window: Window, limits: Limits) -> Header:
    """What the chunks claim. Raises `Refused`."""
    head = window.at(0, 12)
    end = 8 + int.from_bytes(head[4:8], "little")
    end += end % 2
    if len(head) < 12 or end > window.size + (window.size % 2):
        raise truncated("its pixels")
    canvas: tuple[int, int] | None = None
    picture: tuple[int, int] | None = None
    offset, frames, milliseconds, room = 12, 0, 0, METADATA_BYTES
    exif = NO_EXIF
    metadata: list[bytes] = []
    for _ in range(_MOST_CHUNKS):
        if offset >= end - 1:
            break
        kind, length = window.at(offset, 4), int.from_bytes(window.at(offset + 4, 4), "little")
        if offset + 8 + length > end:
            raise truncated("a WebP chunk")
        if kind == b"VP8X":
            body = window.at(offset + 8, 10)
            if offset != 12 or length < 10:
                raise malformed("the WebP's extended header is out of place")
            canvas = 1 + _three(body, 4), 1 + _three(body, 7)
            limits.check_size(*canvas)
        elif kind in (b"VP8 ", b"VP8L"):
            picture = _picture(kind, window.at(offset + 8, min(length, 10)))
            limits.check_size(*picture)
        elif kind == b"ANMF":
            body = window.at(offset + 8, 16)
            if canvas is None or length < 16:
                raise malformed("a WebP frame comes without its canvas")
            frames += 1
            limits.check_frames(frames, frames * canvas[0] * canvas[1])
            right = 2 * _three(body, 0) + 1 + _three(body, 6)
            bottom = 2 * _three(body, 3) + 1 + _three(body, 9)
            if right > canvas[0] or bottom > canvas[1]:
                raise malformed("a WebP frame lies outside its canvas")
            milliseconds += _three(body, 12)
        elif kind in (b"EXIF", b"XMP ") and room > 0:
            body = window.at(offset + 8, min(length, room))
            exif = read_exif(body) if kind == b"EXIF" else exif
            metadata.append(body)
            room -= len(body)
        offset += 8 + length + length % 2
    else:
        raise Refused("bomb_segments", f"the WebP has more than {_MOST_CHUNKS} chunks: export it again")
    size = canvas or picture
    if size is None or not (frames or picture):
        raise malformed("the WebP has no picture")
    if canvas and picture and canvas != picture:
        raise malformed("the WebP claims two sizes")
    limits.check_ratio(4 * size[0] * size[1], window.size, _MOST_RATIO)
    return Header(
        *size,
        end=end,
        frames=max(frames, 1),
        duration_s=milliseconds / 1000 if frames > 1 else None,
        exif=exif,
        metadata=b"\n".join(metadata),
    )


def _three(body: bytes, at: int) -> int:
    return int.from_bytes(body[at : at + 3], "little")


def _picture(kind: bytes, body: bytes) -> tuple[int, int]:
    if kind == b"VP8L":
        if len(body) < 5 or body[0] != 0x2F:
            raise malformed("a lossless WebP picture has no signature")
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if len(body) < 10 or body[3:6] != b"\x9d\x01\x2a":
        raise malformed("a WebP picture has no start code")
    return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
