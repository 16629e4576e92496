"""Which variants a picture gets, decided before it is opened. How they are drawn is in `decode*.py`.

The rules. A variant for each configured width that is not wider than the picture; where a configured width is wider,
one more at the picture's own width, so that every picture has a rendition without metadata and none is enlarged. JPEG,
unless transparency is used: then WebP for all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from content_orchestration.core.errors import Permanent

# Rises whenever the same source and settings give other bytes, so that variants made before can be told apart.
RECIPE = 1
_MIME = {"jpeg": "image/jpeg", "webp": "image/webp"}
EXTENSION = {"jpeg": "jpg", "webp": "webp"}


@dataclass(frozen=True)
class VariantSettings:
    """What to make: widths in pixels, JPEG and WebP quality 1 to 100, and whether to look for colours and dates."""

    sizes: tuple[int, ...] = (150, 400, 800, 1200)
    quality: int = 85
    describe: bool = True

    def __post_init__(self) -> None:
        if not self.sizes or any(not 16 <= size <= 8_192 for size in self.sizes):
            raise Permanent(
                f"sizes are {list(self.sizes)}; at least one, each from 16 to 8192: set MEDIA_VARIANT_SIZES"
            )
        if not 1 <= self.quality <= 100:
            raise Permanent(f"quality is {self.quality}; it must be from 1 to 100: set MEDIA_JPEG_QUALITY")

    @property
    def key(self) -> str:
        """Names widths, quality and recipe: variants under another key are to be made again."""
        return f"{','.join(str(size) for size in sorted(set(self.sizes)))} q{self.quality} r{RECIPE}"


@dataclass(frozen=True)
class Variant:
    """One rendition on disk. Width and height in pixels, as it is to be shown."""

    width: int
    height: int
    format: str
    path: Path
    size_bytes: int
    sha256: str

    @property
    def mime_type(self) -> str:
        """The MIME type of the bytes."""
        return _MIME[self.format]


def variant_sizes(width: int, height: int, sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Widths and heights for a picture of that shape (orientation applied), the largest first."""
    wanted = sorted({min(size, width) for size in sizes}, reverse=True)
    return [(one, max(1, round(height * one / width))) for one in wanted]
