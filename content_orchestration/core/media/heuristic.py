"""What can be said of a file without seeing it, from colours, shape and name. How tags look is `tags.py`'s."""

import colorsys
import re
from collections.abc import Iterator

from content_orchestration.core.media.describe import Described

# Names that cameras, phones and programs give, and words that say nothing about a picture.
_EMPTY_WORDS = frozenset({
    "img", "image", "photo", "picture", "pic", "dsc", "dscn", "dscf", "pxl", "mvimg", "vid", "video", "mov",
    "clip", "file", "upload", "untitled", "copy", "final", "draft", "new", "edit", "edited", "scan", "version",
    "whatsapp", "signal", "telegram", "fb", "ig", "the", "and", "for", "with", "from", "der", "die", "das", "und",
    "mit", "von", "les", "des", "jpg", "jpeg", "png", "webp", "gif", "avif", "heic", "mp4", "pdf", "docx", "min",
    "max", "web", "small", "large", "thumb", "thumbnail", "original", "cropped", "scaled", "resized", "px", "dpi",
    "rgb", "cmyk", "srgb", "at", "on", "in", "of", "to", "by", "a", "an", "am", "pm",
})  # fmt: skip
_WORD = re.compile(r"[^\W\d_]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_HEX = re.compile(r"[0-9a-fA-F]{8,}|[0-9a-fA-F]{4,}(?:-[0-9a-fA-F]{4,})+")
_HUES = (
    (15, "red"), (45, "orange"), (70, "yellow"), (165, "green"), (200, "cyan"), (260, "blue"), (290, "purple"),
    (335, "pink"), (361, "red"),
)  # fmt: skip


def heuristic_words(described: Described, filename: str) -> Iterator[tuple[str, float]]:
    """Words with how sure they are, 0 to 1: a shape is measured (0.9), a word of a name is somebody's guess (0.5)."""
    if described.kind != "image":
        yield described.kind, 0.9
        yield described.format, 0.9
    if described.shape:
        yield described.shape, 0.9
    if described.frames > 1:
        yield "animation", 0.9
    if described.has_alpha:
        yield "transparent", 0.9
    yield from _of_colours(described)
    for word in filename_words(filename):
        yield word, 0.5


def filename_words(filename: str) -> list[str]:
    """The words of a file name that may mean something, in lower case and in order."""
    stem = _HEX.sub(" ", filename.rpartition("/")[2].rsplit(".", 1)[0])
    words = (word.lower() for part in _WORD.findall(stem) for word in _CAMEL.split(part))
    return [word for word in words if 3 <= len(word) <= 24 and word not in _EMPTY_WORDS]


def colour_name(hex_colour: str) -> str:
    """The everyday name of `#rrggbb`."""
    red, green, blue = (int(hex_colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    hue, lightness, saturation = colorsys.rgb_to_hls(red, green, blue)
    if lightness < 0.12:
        return "black"
    if lightness > 0.92:
        return "white"
    if saturation < 0.15:
        return "grey"
    degrees = 360 * hue
    if 15 <= degrees < 50 and lightness < 0.45 and saturation < 0.8:
        return "brown"
    return next(name for below, name in _HUES if degrees < below)


def _of_colours(described: Described) -> Iterator[tuple[str, float]]:
    shares: dict[str, float] = {}
    for colour in described.colours:
        name = colour_name(colour.hex)
        shares[name] = shares.get(name, 0.0) + colour.share
    if shares and set(shares) <= {"black", "white", "grey"}:
        yield "monochrome", 0.7
    for name, share in shares.items():
        if share >= 0.15:
            yield name, 0.5 + share / 2.5
    known = sum(colour.share for colour in described.colours)
    if known:
        light = sum(_lightness(colour.hex) * colour.share for colour in described.colours) / known
        if light < 0.25 or light > 0.75:
            yield ("dark" if light < 0.25 else "bright"), 0.7


def _lightness(hex_colour: str) -> float:
    red, green, blue = (int(hex_colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
