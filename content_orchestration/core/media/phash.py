"""The perceptual hash: 64 bits that stay nearly the same when a picture is scaled, re-encoded or slightly retouched."""

NEAR = 6
"""Bits by which two hashes may differ and still be of the same picture."""


def dhash(grey: bytes) -> str:
    """16 hexadecimal digits from 9 x 8 grey values, row by row: bit by bit, whether a value is darker than the next."""
    bits = 0
    for row in range(8):
        for column in range(8):
            at = 9 * row + column
            bits = bits << 1 | (grey[at] < grey[at + 1])
    return f"{bits:016x}"


def distance(one: str, other: str) -> int:
    """Bits in which two hashes differ, 0 to 64."""
    return (int(one, 16) ^ int(other, 16)).bit_count()


def is_flat(phash: str) -> bool:
    """Whether the hash tells nothing: that of a blank or evenly shaded picture, which is like every other such one."""
    ones = int(phash, 16).bit_count()
    return ones < 4 or ones > 60
