"""PNG and APNG (W3C PNG 3): all chunks are walked, their order, sizes and what they could inflate to are checked."""

import zlib

from content_orchestration.core.media.exif import NO_EXIF, read_exif
from content_orchestration.core.media.header import METADATA_BYTES, Header
from content_orchestration.core.media.limits import Limits, Refused, malformed, truncated
from content_orchestration.core.media.window import Window

# 100 MB in the 8 KiB chunks that libpng writes are 12,800.
_MOST_CHUNKS = 30_000
_MOST_OTHER_CHUNKS = 512
_MOST_TEXT = 1024 * 1024
_MOST_PROFILE = 4 * 1024 * 1024
# Bytes out for each byte in; deflate's own limit is 1,032, flat posters reach about 250.
_MOST_RATIO = 400
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_DATA = (b"IDAT", b"fdAT")


def read_png(window: Window, limits: Limits) -> Header:
    """What the chunks claim. Raises `Refused`."""
    width, height, row_bits = _ihdr(window, limits)
    offset, data, others, frames, seconds, declared = 33, 0, 0, 0, 0.0, 0
    exif = NO_EXIF
    metadata: list[bytes] = []
    room = METADATA_BYTES
    for _ in range(_MOST_CHUNKS):
        head = window.at(offset, 8)
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if len(head) < 8 or offset + 12 + length > window.size:
            raise truncated("a PNG chunk")
        if kind == b"IEND":
            if length:
                raise malformed("the PNG's last chunk carries data")
            break
        if kind == b"IDAT":
            data += length
        elif kind == b"fcTL":
            frames += 1
            limits.check_frames(frames, frames * width * height)
            seconds += _delay(window.at(offset + 8, 26))
        elif kind not in _DATA:
            others += 1
            if others > _MOST_OTHER_CHUNKS or kind == b"IHDR":
                raise Refused("bomb_segments", "the PNG has two headers or far too many chunks: export it again")
            # Only what is looked into is read: a chunk may claim 2 GiB.
            body = window.at(offset + 8, min(length, METADATA_BYTES))
            if kind == b"acTL":
                declared = int.from_bytes(body[:4], "big")
                limits.check_frames(declared, declared * width * height)
            elif kind == b"eXIf":
                exif = read_exif(body)
            elif kind == b"iCCP":
                _inflates_to(_packed(kind, body), _MOST_PROFILE)
            elif kind in (b"zTXt", b"iTXt", b"tEXt"):
                if length > METADATA_BYTES:
                    raise Refused("bomb_ratio", "a text in the PNG is over 256 KiB: export it without")
                text = (body + b"\n" + _inflates_to(_packed(kind, body), _MOST_TEXT))[:room]
                metadata.append(text)
                room -= len(text)
        offset += 12 + length
    else:
        raise Refused("bomb_segments", f"the PNG has more than {_MOST_CHUNKS} chunks: export it again")
    if not data:
        raise malformed("the PNG has no pixels")
    limits.check_ratio(height * ((width * row_bits + 7) // 8), data, _MOST_RATIO)
    return Header(
        width,
        height,
        end=offset + 12,
        frames=max(frames, 1),
        duration_s=round(seconds, 3) if frames > 1 else None,
        exif=exif,
        metadata=b"\n".join(metadata),
    )


def _ihdr(window: Window, limits: Limits) -> tuple[int, int, int]:
    """Width, height and bits a pixel."""
    head = window.at(8, 25)
    if len(head) < 25:
        raise truncated("its header")
    if head[:8] != b"\0\0\0\rIHDR":
        raise malformed("the PNG does not begin with its header")
    width, height = int.from_bytes(head[8:12], "big"), int.from_bytes(head[12:16], "big")
    limits.check_size(width, height)
    depth, colour, compression, filtering, interlace = head[16:21]
    if depth not in _DEPTHS.get(colour, ()) or compression or filtering or interlace > 1:
        raise malformed("the PNG's header names an encoding that there is not")
    return width, height, depth * _CHANNELS[colour]


def _delay(body: bytes) -> float:
    numerator, denominator = int.from_bytes(body[20:22], "big"), int.from_bytes(body[22:24], "big")
    return numerator / (denominator or 100)


def _packed(kind: bytes, body: bytes) -> bytes:
    """The deflated part of an iCCP, zTXt or iTXt chunk; nothing where there is none."""
    rest = body.partition(b"\0")[2]
    if kind == b"tEXt":
        return b""
    if kind != b"iTXt":
        return rest[1:]
    # Flag, method, then a language and a translated keyword, each ended by a NUL.
    parts = rest[2:].split(b"\0", 2)
    return parts[2] if rest[:1] == b"\1" and len(parts) == 3 else b""


def _inflates_to(packed: bytes, most: int) -> bytes:
    """What comes out. Raises `Refused` for more than `most` bytes; what is not deflated gives nothing."""
    try:
        out = zlib.decompressobj().decompress(packed, most + 1)
    except zlib.error:
        return b""
    if len(out) > most:
        raise Refused("bomb_ratio", f"a compressed chunk of the PNG inflates beyond {most} bytes: export it without")
    return out
