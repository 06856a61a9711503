"""Converting decoded frames to RGB."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fststyle.errors import VideoError
from fststyle.images.limits import pixel_limit
from fststyle.video.container import FULL, Colours, Turn, is_stored_as_rgb
from fststyle.video.hdr import TRANSFERS, to_bt709

MAX_PIXELS: Final = 100_000_000
"""Maximum number of pixels in a frame. See `fststyle.images.limits` for how to raise the limit."""


class ToRgb:
    """Converts the frames of one video to RGB of one size, upright.

    Args:
        path: Path of the video file, for error messages.
        first: The first frame. Frames of another size or rotation are fitted into its size.
        size: Width and height of the results.
        stretch: Factor that widens frames, so that their pixels become square.
        colours: Encoding of the colours.

    Attributes:
        resized: Number of frames that were fitted because their size or rotation differs.
    """

    def __init__(
        self, path: Path, first: Any, size: tuple[int, int], stretch: float, colours: Colours
    ) -> None:
        from av.video.reformatter import VideoReformatter

        self.resized = 0
        self._path, self._size, self._stretch, self._colours = path, size, stretch, colours
        self._usual = (first.width, first.height, Turn.of(first))
        self._reformatter = VideoReformatter()

    def __call__(self, frame: Any) -> NDArray[np.uint8]:
        """Convert a PyAV frame.

        Returns:
            Pixels ``(H, W, 3)``. Frames of another shape have black borders.

        Raises:
            VideoError: The frame has too many pixels (code ``too_large``).
        """
        from av.video.reformatter import Interpolation

        width, height = self._size
        turn = Turn.of(frame)
        if turn.swaps:
            width, height = height, width
        room = (height, width)
        if (frame.width, frame.height, turn) != self._usual:
            self.resized += 1
            check_pixels(self._path, frame.width, frame.height)
            scale = min(width / (frame.width * self._stretch), height / frame.height)
            width = min(width, max(1, round(frame.width * self._stretch * scale)))
            height = min(height, max(1, round(frame.height * scale)))
        colours = self._colours
        hdr = colours.transfer in TRANSFERS
        converted = self._reformatter.reformat(
            frame,
            width,
            height,
            "rgb48le" if hdr else "rgb24",
            src_colorspace=colours.scaler_matrix,
            src_color_range=FULL if is_stored_as_rgb(frame) else colours.scaler_range,
            dst_color_range=FULL,
            interpolation=Interpolation.BICUBIC
            | Interpolation.FULL_CHR_H_INT
            | Interpolation.ACCURATE_RND,
        )
        pixels: Any = converted.to_ndarray()
        if hdr:
            pixels = to_bt709(pixels, colours.transfer)
        return turn(_centred(pixels, *room))


def _centred(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Return an image ``(H, W, 3)`` of the given size, with black borders where it is smaller."""
    if pixels.shape[:2] == (height, width):
        return pixels
    result = np.zeros((height, width, 3), np.uint8)
    top, left = (height - pixels.shape[0]) // 2, (width - pixels.shape[1]) // 2
    result[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return result


def check_pixels(path: Path, width: int, height: int) -> None:
    """Check the size of a frame.

    Raises:
        VideoError: The frame has too many pixels (code ``too_large``).
    """
    if width * height > pixel_limit(MAX_PIXELS):
        raise VideoError(
            f"The frames of {{path}} have {width}×{height} pixels, which exceeds the limit.",
            path=path,
            remedy="If the file is not damaged, raise the limit with FSTSTYLE_MAX_MEGAPIXELS.",
            code="too_large",
        )
