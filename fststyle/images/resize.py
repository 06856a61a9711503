"""Pictures made smaller or larger."""

from __future__ import annotations

from typing import Any, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fststyle.errors import SettingError

Box = tuple[float, float, float, float]
"""Left, top, right and lower edge, in pixels and fractions of them."""


@overload
def resize(
    pixels: NDArray[np.uint8], *, width: int, height: int, box: Box | None = None
) -> NDArray[np.uint8]: ...


@overload
def resize(
    pixels: NDArray[np.floating], *, width: int, height: int, box: Box | None = None
) -> NDArray[np.float32]: ...


def resize(
    pixels: NDArray[Any], *, width: int, height: int, box: Box | None = None
) -> NDArray[Any]:
    """Resize with Lanczos's filter, antialiased; floats without rounding to 8 bits.

    Args:
        pixels: ``(H, W, C)`` or ``(H, W)``; uint8, or floats in [0, 1].
        width: New width, at least 1.
        height: New height, at least 1.
        box: The part of the picture that is resized. Pixels around it count as they do when the
            whole is resized, so that parts fit together. By default all of it.

    Returns:
        A new array, uint8 or float32, clipped where the filter overshoots.
    """
    if pixels.dtype == np.uint8:
        image = Image.fromarray(np.ascontiguousarray(pixels))
        return np.array(image.resize((width, height), Image.Resampling.LANCZOS, box))
    if pixels.ndim == 3:
        channels = np.moveaxis(pixels, 2, 0)
        return np.stack([resize(c, width=width, height=height, box=box) for c in channels], axis=2)
    plane = Image.fromarray(np.ascontiguousarray(pixels, dtype=np.float32))
    resized = np.asarray(plane.resize((width, height), Image.Resampling.LANCZOS, box))
    return np.asarray(np.clip(resized, 0.0, 1.0), dtype=np.float32)


def fit_long_side(pixels: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Shrink a picture, aspect ratio kept, so that its long side is at most ``size``.

    Args:
        pixels: ``(H, W, C)`` or ``(H, W)`` in [0, 1].
        size: Upper limit for the long side, at least 1.

    Returns:
        The smaller picture, each side at least 1; ``pixels`` itself if it fits already.

    Raises:
        SettingError: ``size`` is below 1.
    """
    return _fit(pixels, size, max(pixels.shape[:2]))


def fit_short_side(pixels: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Shrink a picture as `fit_long_side` does, so that its short side is at most ``size``."""
    return _fit(pixels, size, min(pixels.shape[:2]))


def middle_square(photo: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """The largest square from the middle of a photo, at a size.

    Args:
        photo: ``(H, W, 3)``, RGB in [0, 1].
        size: Side of the square in pixels.

    Returns:
        ``(size, size, 3)``.
    """
    height, width = photo.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return resize(photo[top : top + side, left : left + side], width=size, height=size)


def _fit(pixels: NDArray[np.float32], size: int, side: int) -> NDArray[np.float32]:
    if size < 1:
        raise SettingError(f"size must be at least 1 pixel, not {size}.")
    if side <= size:
        return pixels
    height, width = (max(1, round(length * size / side)) for length in pixels.shape[:2])
    return resize(pixels, width=width, height=height)


def fitted_size(height: int, width: int, size: int) -> tuple[int, int]:
    """Return the height and width of a photo shrunk as `fststyle.images.photo.fit_long_side` does.

    Raises:
        SettingError: ``size`` is below 1.
    """
    if size < 1:
        raise SettingError(f"size must be at least 1 pixel, not {size}.")
    side = max(height, width)
    if side <= size:
        return height, width
    return max(1, round(height * size / side)), max(1, round(width * size / side))
