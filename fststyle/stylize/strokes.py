"""Brush-stroke size: running the network at a different size from the result.

A network paints strokes of a fixed size in pixels, so on a photo that is 4000 pixels wide they
look like fine grain. Therefore the network stylises a smaller copy of the photo, and the result is
upscaled. Finally, the luminance detail that the smaller copy had lost is added back:

    result = upscale(small result) + DETAIL · luminance(photo - upscale(small photo))

docs/large_photos.md has examples.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fststyle.images.photo import Pixels
from fststyle.images.resize import resize

WORKING_SIDE: Final = 1280
"""Long side, in pixels, at which the network stylises larger photos by default."""

LOWEST_SCALE: Final = 0.25
HIGHEST_SCALE: Final = 64.0

DETAIL: Final = 0.5
"""Share of the photo's fine luminance detail that is added back. At 1, edges look embossed."""

MOST_UPSCALED: Final = 2.0
"""Largest ratio of pixels at which an upscaled result still looks sharp."""

REPAINT: Final = 0.5
"""Strength, relative to the first pass, at which an upscaled result is painted again."""

_BAND_PIXELS: Final = 4_000_000
_FILTER: Final = 4  # more than the Lanczos filter's radius of 3 pixels
_LUMINANCE: Final = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as in JPEG


def default_scale(height: int, width: int) -> float:
    """Return the scale, at least 1, that makes the network work at `WORKING_SIDE`."""
    return min(HIGHEST_SCALE, max(1.0, max(height, width) / WORKING_SIDE))


def working_size(height: int, width: int, scale: float) -> tuple[int, int]:
    """Return the height and width of the network's input at the given scale, each at least 1."""
    return max(1, round(height / scale)), max(1, round(width / scale))


def resized(pixels: Pixels, height: int, width: int) -> Pixels:
    """Resize with `fststyle.images.resize.resize`; return ``pixels`` if the size is the same."""
    if pixels.shape[:2] == (height, width):
        return pixels
    return resize(pixels, width=width, height=height)


def upscale(result: Pixels, small: Pixels, photo: Pixels, *, detail: float = DETAIL) -> Pixels:
    """Upscale a stylised small photo to the size of the photo, and add the photo's fine detail.

    The rows are processed in bands, so that even a large photo needs little memory apart from the
    result.

    Args:
        result: Stylised small photo ``(h, w, 3)``, either uint8 or float32 in [0, 1].
        small: Small photo ``(h, w, 3)`` before stylising.
        photo: Original photo ``(H, W, 3)``.
        detail: Share of the fine luminance detail that is added back, at least 0.

    Returns:
        An array ``(H, W, 3)`` of the same dtype as ``photo``.
    """
    height, width = photo.shape[:2]
    small_height, small_width = result.shape[:2]
    upscaled = np.empty_like(photo, order="C")
    rows = max(1, _BAND_PIXELS // width)
    for top in range(0, height, rows):
        end = min(top + rows, height)
        # These source rows include the margin that the Lanczos filter needs. They are resized as
        # floats, because Pillow's resizing of uint8 can differ by a few levels between bands.
        first, last = top * small_height / height, end * small_height / height
        start = max(0, int(first) - _FILTER)
        stop = min(small_height, math.ceil(last) + _FILTER)
        box = (0.0, first - start, float(small_width), last - start)
        painted, plain = (
            resize(_floats(image[start:stop]), width=width, height=end - top, box=box)
            for image in (result, small)
        )
        lost = (_floats(photo[top:end]) - plain) @ _LUMINANCE
        painted += np.float32(detail) * lost[:, :, None]
        np.clip(painted, 0, 1, out=painted)
        if photo.dtype == np.uint8:
            painted *= 255
            np.rint(painted, out=painted)
        upscaled[top:end] = painted
    return upscaled


def _floats(pixels: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.float32]:
    floats = pixels.astype(np.float32)
    if pixels.dtype == np.uint8:
        floats /= 255
    return floats
