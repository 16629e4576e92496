"""Drawing with libvips: one decode, the largest variant from it, each smaller one from the one before.

Runs in the child process only (`child.py`): this is where a hostile file meets a decoder.
"""

import pyvips
from PIL import Image

from content_orchestration.core.media.drawing import MOST_PROFILE, OPAQUE, Drawn, Order, Undecodable, output_format

_LOADERS = {"jpeg": "jpegload", "png": "pngload", "webp": "webpload", "gif": "gifload", "avif": "heifload"}
_CLASSES = (
    "VipsForeignLoadJpeg",
    "VipsForeignLoadPng",
    "VipsForeignLoadWebp",
    "VipsForeignLoadNsgif",
    "VipsForeignLoadHeif",
)
# A JPEG may be decoded at 1/2, 1/4 or 1/8 where at least this many times the largest variant remains. Measured on
# 6-megapixel photographs: 46 dB from a full decode, where JPEG at quality 85 itself costs 10 dB more.
_SPARE = 1.2
_ICC = "icc-profile-data"


def set_up(threads: int) -> None:
    """Only the loaders named here can be used, nothing is cached, and `threads` work at once."""
    pyvips.block_untrusted_set(True)
    pyvips.operation_block_set("VipsForeignLoad", True)
    for name in _CLASSES:
        pyvips.operation_block_set(name, False)
    pyvips.cache_set_max(0)
    pyvips.concurrency_set(threads)


def draw(order: Order) -> Drawn:
    """All variants of one picture. Raises `Undecodable`, and MemoryError where libvips ran out of memory."""
    try:
        return _draw(order)
    except (pyvips.Error, UnicodeDecodeError) as error:
        text = " ".join(_said(error).split())
        # "out of memory" is libvips's own, "Insufficient memory" libjpeg's, the last libheif's.
        if any(words in text for words in ("out of memory", "Insufficient memory", "Memory allocation")):
            raise MemoryError(text) from error
        raise Undecodable(text[:300]) from error


def _said(error: pyvips.Error | UnicodeDecodeError) -> str:
    """What libvips says may quote a damaged file: then pyvips cannot read it, and leaves it for the next error."""
    if isinstance(error, UnicodeDecodeError):
        pyvips.vips_lib.vips_error_clear()
        return error.object.decode("utf-8", "replace")
    return str(error)


def _draw(order: Order) -> Drawn:
    source, shown = _open(order)
    targets = order.targets(shown)
    first = _shrunk(source, *order.as_stored(targets[0]))
    current = _turned(_plain(first), order.orientation).copy_memory()
    alpha = bool(current.hasalpha())
    used = alpha and current[current.bands - 1].min() < OPAQUE
    kind = output_format(used, targets[0])
    if alpha and kind == "jpeg":
        current = current.flatten(background=255).copy_memory()
    encoded = []
    for width, height in targets:
        if (width, height) != (current.width, current.height):
            current = _shrunk(current, width, height).copy_memory()
        encoded.append((width, height, _encoded(current, kind, order.quality)))
    return Drawn(*shown, tuple(encoded), kind, _small(current))


def _open(order: Order) -> tuple[pyvips.Image, tuple[int, int]]:
    """The picture, perhaps at a fraction of its size, and the size at which it is shown."""
    image = _load(order)
    order.check(image.width, image.height)
    if order.format == "avif":
        return image, (image.width, image.height)
    shown = (order.width, order.height)
    spare = order.width / order.targets(shown)[0][0]
    shrink = next((one for one in (8, 4, 2) if spare >= one * _SPARE), 1) if order.format == "jpeg" else 1
    return (_load(order, shrink=shrink) if shrink > 1 else image), shown


def _load(order: Order, **options: int) -> pyvips.Image:
    return pyvips.Operation.call(
        _LOADERS[order.format], str(order.path), access="sequential", fail_on="error", **options
    )


def _shrunk(image: pyvips.Image, width: int, height: int) -> pyvips.Image:
    """The picture at exactly that size; colours under transparent pixels do not bleed."""
    if (image.width, image.height) == (width, height):
        return image
    alpha, kind = image.hasalpha(), image.format
    ready = image.premultiply() if alpha else image
    ready = ready.resize(width / image.width, vscale=height / image.height)
    return ready.unpremultiply().cast(kind) if alpha else ready


def _plain(image: pyvips.Image) -> pyvips.Image:
    """8 bits of grey or RGB, with the colour profile where it is small and belongs to those."""
    wide = image.get_typeof(_ICC) and len(image.get(_ICC)) > MOST_PROFILE
    if image.interpretation == "cmyk" or wide:
        # Without a profile of its own CMYK is read by libvips's built-in one.
        fallback = {"input_profile": "cmyk"} if image.interpretation == "cmyk" else {}
        try:
            image = image.icc_transform("srgb", embedded=True, **fallback)
        except pyvips.Error:
            image = image.colourspace("srgb")
        image = _without_profile(image)
    if image.interpretation not in ("srgb", "b-w"):
        grey = image.interpretation == "grey16" or image.bands < 3
        image = image.colourspace("b-w" if grey else "srgb")
    return image if image.format == "uchar" else image.cast("uchar")


def _without_profile(image: pyvips.Image) -> pyvips.Image:
    if not image.get_typeof(_ICC):
        return image
    image = image.copy()
    image.remove(_ICC)
    return image


_TURNS = {
    1: (None, None), 2: (None, "horizontal"), 3: ("d180", None), 4: (None, "vertical"),
    5: ("d90", "horizontal"), 6: ("d90", None), 7: ("d270", "horizontal"), 8: ("d270", None),
}  # fmt: skip


def _turned(image: pyvips.Image, orientation: int) -> pyvips.Image:
    angle, mirror = _TURNS[orientation]
    # Turning needs pixels out of order, which a sequential decode cannot give.
    image = image.copy_memory() if orientation != 1 else image
    image = image.rot(angle) if angle else image
    return image.flip(mirror) if mirror else image


def _encoded(image: pyvips.Image, kind: str, quality: int) -> bytes:
    if kind == "webp":
        return bytes(image.webpsave_buffer(Q=quality, alpha_q=100, effort=2, keep="icc"))
    return bytes(image.jpegsave_buffer(Q=quality, keep="icc"))


def _small(image: pyvips.Image) -> Image.Image:
    """A copy of at most 160 pixels a side for Pillow; profiles do not matter at a glance."""
    scale = min(1.0, 160 / max(image.width, image.height))
    image = _shrunk(image, max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    if image.interpretation == "b-w":
        image = image.colourspace("srgb")
    mode = "RGBA" if image.bands == 4 else "RGB"
    return Image.frombytes(mode, (image.width, image.height), bytes(image.write_to_memory()))
