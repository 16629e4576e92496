"""What libvips and Pillow have in common as engines: the order, the result, and the look at a small copy."""

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from content_orchestration.core.media.colours import Colour, dominant_colours
from content_orchestration.core.media.phash import dhash
from content_orchestration.core.media.variants import variant_sizes

# A colour profile is kept in every variant; a larger one costs more than converting to sRGB.
MOST_PROFILE = 16 * 1024
# Resampling leaves an opaque edge at 254; nobody sees 249.
OPAQUE = 250
# The most that WebP can hold on a side.
MOST_WEBP_SIDE = 16_383


class Undecodable(Exception):
    """The engine cannot decode this file. Whether another one can is the caller's to try."""


@dataclass(frozen=True)
class Order:
    """What to draw: the wanted widths as shown; `width` and `height` as inspected, after orientation."""

    path: Path
    format: str
    width: int
    height: int
    orientation: int
    sizes: tuple[int, ...]
    quality: int
    max_pixels: int

    def as_stored(self, size: tuple[int, int]) -> tuple[int, int]:
        """Width and height before orientation is applied, or after: swapped where it is a quarter turn."""
        return (size[1], size[0]) if self.orientation >= 5 else size

    def targets(self, size: tuple[int, int]) -> list[tuple[int, int]]:
        """Widths and heights to draw of a picture shown at that size, the largest first."""
        return variant_sizes(*size, self.sizes)

    def check(self, width: int, height: int) -> None:
        """Raises `Undecodable` where a decoder finds another picture (as stored) than was inspected."""
        if width * height > self.max_pixels:
            raise Undecodable(f"the decoder finds {width} x {height} pixels; allowed are {self.max_pixels} in all")
        # AVIF is cropped and turned by its decoder, so only the ceiling holds there.
        if self.format != "avif" and self.as_stored((width, height)) != (self.width, self.height):
            raise Undecodable(f"the decoder finds {width} x {height} pixels, the header says otherwise")


@dataclass(frozen=True)
class Drawn:
    """The picture's size as shown; width, height and bytes of each variant, the largest first; a copy to look at."""

    width: int
    height: int
    encoded: tuple[tuple[int, int, bytes], ...]
    format: str
    small: Image.Image


def output_format(alpha_used: bool, largest: tuple[int, int]) -> str:
    """WebP where transparency is used and WebP can hold the largest variant, else JPEG on white."""
    return "webp" if alpha_used and max(largest) <= MOST_WEBP_SIDE else "jpeg"


def look(small: Image.Image) -> tuple[str, tuple[Colour, ...]]:
    """The perceptual hash and the dominant colours of a small RGB, RGBA or grey copy."""
    clear = small.convert("RGBA") if small.mode == "RGBA" else None
    solid = small.convert("RGB")
    if clear is not None:
        solid = Image.new("RGB", small.size, "white")
        solid.paste(clear, mask=clear.getchannel("A"))
    grey = solid.convert("L").resize((9, 8), Image.Resampling.BOX).tobytes()
    box = (min(48, small.width), min(48, small.height))
    pixels = _triples(solid.resize(box, Image.Resampling.BOX).tobytes())
    if clear is not None:
        visible = clear.getchannel("A").resize(box, Image.Resampling.BOX).tobytes()
        shown = [pixel for pixel, alpha in zip(pixels, visible, strict=True) if alpha >= 128]
        pixels = shown or pixels
    return dhash(grey), dominant_colours(pixels)


def _triples(data: bytes) -> list[tuple[int, int, int]]:
    return list(zip(data[::3], data[1::3], data[2::3], strict=True))
