"""Drawing with Pillow, for what libvips cannot load and where it is not installed. Same order, same rules, slower."""

import io
import warnings
from dataclasses import replace

from PIL import Image, ImageCms, ImageFile

from content_orchestration.core.media.drawing import MOST_PROFILE, OPAQUE, Drawn, Order, Undecodable, output_format

_NAMES = {"jpeg": "JPEG", "png": "PNG", "webp": "WEBP", "gif": "GIF", "avif": "AVIF"}
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_LANCZOS = Image.Resampling.LANCZOS


def draw(order: Order) -> Drawn:
    """All variants of one picture. Raises `Undecodable`, and MemoryError where libavif ran out of memory."""
    # A picture that ends early is refused, not shown half grey.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    Image.MAX_IMAGE_PIXELS = order.max_pixels
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(order.path, formats=[_NAMES[order.format]]) as image:
                return _draw(image, order)
    except (MemoryError, Undecodable):
        raise
    # Each of its decoders has errors of its own for damaged input: OSError, RuntimeError, division by zero, and more.
    except Exception as error:
        if "out of memory" in str(error).lower():  # libavif's, as a RuntimeError
            raise MemoryError(str(error)) from error
        raise Undecodable(f"{type(error).__name__}: {error}"[:300]) from error


def _draw(image: Image.Image, order: Order) -> Drawn:
    order.check(image.width, image.height)
    if order.format == "avif":
        # Pillow tells of AVIF's own turning property as an orientation, and leaves the turning to us.
        turn = image.getexif().get(0x0112, 1)
        order = replace(order, orientation=turn if turn in _TURNS else 1)
        shown = order.as_stored(image.size)
    else:
        shown = (order.width, order.height)
    targets = order.targets(shown)
    if order.format == "jpeg":
        image.draft(None, order.as_stored(targets[0]))
    profile = image.info.get("icc_profile") or None
    current = _shrunk(_plain(image, profile), order.as_stored(targets[0]))
    if order.orientation in _TURNS:
        current = current.transpose(_TURNS[order.orientation])
    alpha = current.mode == "RGBA"
    lowest = current.getchannel("A").getextrema()[0] if alpha else 255
    kind = output_format(isinstance(lowest, int | float) and lowest < OPAQUE, targets[0])
    if alpha and kind == "jpeg":
        solid = Image.new("RGB", current.size, "white")
        solid.paste(current, mask=current.getchannel("A"))
        current = solid
    kept = None if profile is None or image.mode == "CMYK" or len(profile) > MOST_PROFILE else profile
    encoded = []
    for size in targets:
        current = _shrunk(current, size)
        encoded.append((*size, _encoded(current, kind, order.quality, kept)))
    small = current.copy()
    small.thumbnail((160, 160), _LANCZOS)
    return Drawn(*shown, tuple(encoded), kind, small)


def _shrunk(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    # Pillow itself keeps colours under transparent pixels from bleeding.
    return image if image.size == size else image.resize(size, _LANCZOS, reducing_gap=2.0)


def _plain(image: Image.Image, profile: bytes | None) -> Image.Image:
    """8 bits of grey, RGB or RGBA; CMYK, and what has a large profile, as sRGB."""
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        return image.convert("I").point(lambda value: value / 256).convert("L")
    clear = "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La")
    foreign = image.mode == "CMYK" or (profile is not None and len(profile) > MOST_PROFILE)
    if foreign and profile and image.mode in ("CMYK", "RGB", "L"):
        try:
            given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(image, given, ImageCms.createProfile("sRGB"), outputMode="RGB")
            return converted or image.convert("RGB")
        except (ImageCms.PyCMSError, OSError):
            return image.convert("RGB")
    if clear:
        return image.convert("RGBA")
    return image.convert("L") if image.mode in ("1", "L") else image.convert("RGB")


def _encoded(image: Image.Image, kind: str, quality: int, profile: bytes | None) -> bytes:
    out = io.BytesIO()
    # An empty profile keeps Pillow from writing the source's own.
    if kind == "webp":
        image.save(out, "WEBP", quality=quality, alpha_quality=100, method=2, icc_profile=profile or b"", exif=b"")
    else:
        image.save(out, "JPEG", quality=quality, icc_profile=profile or b"", exif=b"", comment=b"")
    return out.getvalue()
