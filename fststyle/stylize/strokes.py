"""The size of the brush strokes: the network works at another size than that of the result.

A network paints strokes of the size in pixels that it was trained with, so on a photo of 4000
pixels they are a fine grain. Here the network sees a smaller photo; its picture is enlarged, and
what the smaller photo had lost of the large one, in luminance, is put back:

    result = upscale(picture) + DETAIL · luminance(photo - upscale(seen))

docs/large_photos.md shows what comes of it.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fststyle.images.photo import Pixels
from fststyle.images.resize import resize

WORKING_SIDE: Final = 1280
"""Long side at which photos are stylised that are larger, in pixels, unless a scale is given."""

LOWEST_SCALE: Final = 0.25
HIGHEST_SCALE: Final = 64.0

DETAIL: Final = 0.5
"""Share of the photo's fine luminance that is put back; at 1 edges look embossed."""

_BAND_PIXELS: Final = 4_000_000
_FILTER: Final = 4  # more than the 3 pixels of Lanczos's filter
_LUMINANCE: Final = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as in JPEG


def default_scale(height: int, width: int) -> float:
    """Return the scale at which a photo's long side is seen at `WORKING_SIDE`, at least 1."""
    return min(HIGHEST_SCALE, max(1.0, max(height, width) / WORKING_SIDE))


def working_size(height: int, width: int, scale: float) -> tuple[int, int]:
    """Return the height and width of the network's input at a scale, each at least 1."""
    return max(1, round(height / scale)), max(1, round(width / scale))


def resized(pixels: Pixels, height: int, width: int) -> Pixels:
    """Resize as `fststyle.images.resize.resize` does; ``pixels`` itself where nothing changes."""
    if pixels.shape[:2] == (height, width):
        return pixels
    return resize(pixels, width=width, height=height)


def upscale(picture: Pixels, seen: Pixels, photo: Pixels, *, detail: float = DETAIL) -> Pixels:
    """Enlarge a stylised picture to the size of its photo, with the photo's fine detail.

    It is done in bands of rows, so that a large photo takes little memory beyond the result.

    Args:
        picture: ``(h, w, 3)``, the stylised small photo; uint8, or float32 in [0, 1].
        seen: ``(h, w, 3)``, the small photo.
        photo: ``(H, W, 3)``, the large photo.
        detail: Share of its fine luminance that is put back, from 0.

    Returns:
        ``(H, W, 3)`` of the same type.
    """
    height, width = photo.shape[:2]
    low_height, low_width = picture.shape[:2]
    result = np.empty_like(photo, order="C")
    rows = max(1, _BAND_PIXELS // width)
    for top in range(0, height, rows):
        end = min(top + rows, height)
        # The rows that these are made of, and as many more as Lanczos's filter reaches; as
        # floats, since pillow's bytes differ by some levels from one part to the next.
        first, last = top * low_height / height, end * low_height / height
        start = max(0, int(first) - _FILTER)
        stop = min(low_height, math.ceil(last) + _FILTER)
        box = (0.0, first - start, float(low_width), last - start)
        painted, plain = (
            resize(_floats(small[start:stop]), width=width, height=end - top, box=box)
            for small in (picture, seen)
        )
        lost = (_floats(photo[top:end]) - plain) @ _LUMINANCE
        painted += np.float32(detail) * lost[:, :, None]
        np.clip(painted, 0, 1, out=painted)
        if photo.dtype == np.uint8:
            painted *= 255
            np.rint(painted, out=painted)
        result[top:end] = painted
    return result


def _floats(pixels: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.float32]:
    floats = pixels.astype(np.float32)
    if pixels.dtype == np.uint8:
        floats /= 255
    return floats
