"""What a file may claim before anything is decoded, and the error for one that claims more. No parsing here."""

from dataclasses import dataclass

from content_orchestration.core.errors import Permanent


class Refused(Permanent):
    """A file that is not opened any further. `code` is stable, for counting; the message names rule and way out."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def too_large(size: int, max_bytes: int) -> Refused:
    """The refusal of a file with more bytes than one may have."""
    return Refused(
        "too_large",
        f"the file has {size:,} bytes or more, {max_bytes:,} are taken (STORAGE_MAX_FILE_SIZE): make it smaller",
    )


@dataclass(frozen=True)
class Limits:
    """Ceilings on what a header may claim.

    120 megapixels admit the 108-megapixel sensors of phones; a side of 32,767 every panorama that a page can show.
    """

    max_pixels: int = 120_000_000
    max_side: int = 32_767
    max_frames: int = 1_000

    def check_size(self, width: int, height: int) -> None:
        """Raises `Refused` for a picture with no pixels or too many."""
        if width < 1 or height < 1:
            raise Refused("empty_picture", f"the picture claims {width} x {height} pixels: export it again")
        if max(width, height) > self.max_side or width * height > self.max_pixels:
            raise Refused(
                "bomb_pixels",
                f"the picture claims {width} x {height} pixels; allowed are {self.max_pixels} in all and "
                f"{self.max_side} a side: scale it down before uploading, or raise MEDIA_MAX_PIXELS",
            )

    def check_frames(self, frames: int, frame_pixels: int) -> None:
        """Raises `Refused` for an animation with too many frames, or ten times too many pixels in all of them."""
        if frames > self.max_frames:
            raise Refused(
                "bomb_frames",
                f"the animation has over {self.max_frames} frames: upload it as a video, or raise MEDIA_MAX_FRAMES",
            )
        if frame_pixels > 10 * self.max_pixels:
            raise Refused(
                "bomb_frames",
                f"the animation's frames have {frame_pixels} pixels in all; allowed are {10 * self.max_pixels}: "
                "upload it as a video",
            )

    def check_ratio(self, decoded_bytes: int, file_bytes: int, most: int) -> None:
        """Raises `Refused` where over 64 MiB would come out of a file, and more than `most` bytes for each in it."""
        if decoded_bytes > 64 * 1024**2 and decoded_bytes > most * max(file_bytes, 1):
            raise Refused(
                "bomb_ratio",
                f"{file_bytes} bytes claim to hold {decoded_bytes}, more than {most} to one: no picture of that size "
                "compresses so well; export it again at the size that it is shown in",
            )


def truncated(what: str) -> Refused:
    """The refusal of a file that ends before its format says it does."""
    return Refused("truncated", f"the file ends inside {what}: it was cut off on its way; upload it again")


def malformed(what: str) -> Refused:
    """The refusal of a file that breaks its format's rules."""
    return Refused("malformed", f"{what}: the file is damaged or made to mislead; export it again and upload that")
