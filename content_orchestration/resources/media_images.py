"""What the settings say about pictures, as the values that `core/media` takes."""

from content_orchestration.core.media.limits import Limits
from content_orchestration.core.media.variants import VariantSettings
from content_orchestration.core.media.worker import ImageWorker
from content_orchestration.settings import Settings


def picture_limits(settings: Settings) -> Limits:
    """What a picture may claim."""
    return Limits(max_pixels=settings.media_max_pixels, max_frames=settings.media_max_frames)


def variant_settings(settings: Settings) -> VariantSettings:
    """Which variants are made, and how."""
    return VariantSettings(settings.variant_widths, settings.media_jpeg_quality, settings.enable_metadata_extraction)


def image_worker(settings: Settings) -> ImageWorker:
    """A worker that has not started its child yet. To be closed by whoever asked for it."""
    return ImageWorker(
        picture_limits(settings),
        memory_mib=settings.media_memory_mib,
        timeout_s=settings.media_timeout_seconds,
        threads=settings.media_decode_threads,
    )
