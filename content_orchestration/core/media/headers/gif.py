"""GIF (87a and 89a): every block is stepped over by its length, frames and their delays are counted."""

from content_orchestration.core.media.header import METADATA_BYTES, Header
from content_orchestration.core.media.limits import Limits, malformed, truncated
from content_orchestration.core.media.window import Window

_IMAGE, _EXTENSION, _TRAILER = 0x2C, 0x21, 0x3B
_GRAPHIC_CONTROL, _COMMENT = 0xF9, 0xFE
# Bytes out for each byte in; LZW's 12-bit codes can stand for 4,096 pixels at the very best.
_MOST_RATIO = 2_000


def read_gif(window: Window, limits: Limits) -> Header:
    """What the blocks claim. Raises `Refused`."""
    head = window.at(0, 13)
    if len(head) < 13:
        raise truncated("its header")
    width, height = _short(head, 6), _short(head, 8)
    limits.check_size(width, height)
    # The whole canvas is decoded, however little of it the frames cover.
    limits.check_ratio(4 * width * height, window.size, _MOST_RATIO)
    offset = 13 + _table(head[10])
    frames, pixels, hundredths = 0, 0, 0
    metadata: list[bytes] = []
    while True:
        introducer = window.at(offset, 1)
        if not introducer:
            raise truncated("its frames" if frames else "its headers")
        if introducer[0] == _TRAILER:
            break
        if introducer[0] == _IMAGE:
            box = window.at(offset, 10)
            if len(box) < 10:
                raise truncated("a frame's header")
            frame = _short(box, 5), _short(box, 7)
            limits.check_size(*frame)
            frames += 1
            pixels += max(frame[0] * frame[1], width * height)
            limits.check_frames(frames, pixels)
            offset = _after_blocks(window, offset + 11 + _table(box[9]))
        elif introducer[0] == _EXTENSION:
            label = window.at(offset + 1, 1)
            if label == bytes([_GRAPHIC_CONTROL]):
                hundredths += _short(window.at(offset, 8).ljust(8, b"\0"), 4)
            keep = label == bytes([_COMMENT]) and sum(map(len, metadata)) < METADATA_BYTES
            offset = _after_blocks(window, offset + 2, metadata if keep else None)
        else:
            raise malformed(f"byte {offset} begins no GIF block")
    if not frames:
        raise malformed("the GIF has no frame")
    duration = hundredths / 100 if frames > 1 else None
    return Header(width, height, end=offset + 1, frames=frames, duration_s=duration, metadata=b"\n".join(metadata))


def _short(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "little")


def _table(flags: int) -> int:
    """Bytes of the colour table that the flags announce."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _after_blocks(window: Window, offset: int, keep: list[bytes] | None = None) -> int:
    """The offset after a chain of length-prefixed blocks."""
    while True:
        length = window.at(offset, 1)
        if not length:
            raise truncated("a block")
        if length == b"\0":
            return offset + 1
        if keep is not None:
            keep.append(window.at(offset + 1, length[0]))
        offset += 1 + length[0]
