"""The size of the brush strokes: the network works at another size than that of the result.

A network paints strokes of a fixed size in pixels, so on a photo of 4000 pixels they look like a
fine grain. Therefore the network works on a smaller photo, its result is upscaled, and the
luminance detail that the smaller photo had lost is added back:

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
"""Long side at which larger photos are stylised by default, in pixels."""

LOWEST_SCALE: Final = 0.25
HIGHEST_SCALE: Final = 64.0

DETAIL: Final = 0.5
"""Share of the photo's fine luminance detail that is added back; at 1 edges look embossed."""

_BAND_PIXELS: Final = 4_000_000
_FILTER: Final = 4  # more than the 3 pixels of the Lanczos filter
_LUMINANCE: Final = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as in JPEG


def default_scale(height: int, width: int) -> float:
    """Return the scale that makes the network work at `WORKING_SIDE`, at least 1."""
    return min(HIGHEST_SCALE, max(1.0, max(height, width) / WORKING_SIDE))


def working_size(height: int, width: int, scale: float) -> tuple[int, int]:
    """Return the height and width of the network's input at a scale, each at least 1."""
    return max(1, round(height / scale)), max(1, round(width / scale))


def resized(pixels: Pixels, height: int, width: int) -> Pixels:
    """Resize as `fststyle.images.resize.resize` does; return ``pixels`` if the size is the same."""
    if pixels.shape[:2] == (height, width):
        return pixels
    return resize(pixels, width=width, height=height)


def upscale(result: Pixels, small: Pixels, photo: Pixels, *, detail: float = DETAIL) -> Pixels:
    """Upscale a stylised small photo to the size of the photo, with the photo's fine detail.

    The work is done in bands of rows, so that a large photo takes little memory in addition to
    the result.

    Args:
        result: Stylised small photo ``(h, w, 3)``; uint8, or float32 in [0, 1].
        small: Small photo ``(h, w, 3)``.
        photo: Photo ``(H, W, 3)``.
        detail: Share of the fine luminance detail that is added back, from 0.

    Returns:
        ``(H, W, 3)`` of the same type.
    """
    height, width = photo.shape[:2]
    small_height, small_width = result.shape[:2]
    upscaled = np.empty_like(photo, order="C")
    rows = max(1, _BAND_PIXELS // width)
    for top in range(0, height, rows):
        end = min(top + rows, height)
        # The rows that these depend on, including those that the Lanczos filter reaches. Floats,
        # because bytes resized by pillow differ by some levels between parts.
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
