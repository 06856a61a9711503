"""Resizing images."""

from __future__ import annotations

from typing import Any, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fststyle.errors import SettingError

Box = tuple[float, float, float, float]
"""Left, upper, right and lower edges in pixels; fractions are allowed."""


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
    """Resize an image with an antialiasing Lanczos filter. Floats are not rounded to 8 bits.

    Args:
        pixels: ``(H, W, C)`` or ``(H, W)``; uint8, or floats in [0, 1].
        width: New width, at least 1.
        height: New height, at least 1.
        box: Part of the image to resize; by default, the whole image. Pixels outside the box
            still contribute to the pixels at its edges, so that separately resized parts fit
            together.

    Returns:
        A new array of uint8 or float32. Floats are clipped to [0, 1].

    Example:
        >>> resize(np.ones((20, 30, 3)), width=15, height=10).shape
        (10, 15, 3)
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
    """Shrink an image so that its longer side is at most ``size``. The aspect ratio is kept.

    Args:
        pixels: ``(H, W, C)`` or ``(H, W)`` in [0, 1].
        size: Maximum length of the longer side in pixels, at least 1.

    Returns:
        The smaller image, with sides of at least 1 pixel; or ``pixels`` itself if the image is
        already small enough.

    Raises:
        SettingError: ``size`` is below 1.

    Example:
        >>> fit_long_side(np.ones((20, 30, 3), np.float32), 15).shape
        (10, 15, 3)
    """
    return _shrunk(pixels, size, max(pixels.shape[:2]))


def fit_short_side(pixels: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Shrink an image so that its shorter side is at most ``size``. The aspect ratio is kept.

    Args:
        pixels: ``(H, W, C)`` or ``(H, W)`` in [0, 1].
        size: Maximum length of the shorter side in pixels, at least 1.

    Returns:
        The smaller image; or ``pixels`` itself if the image is already small enough.

    Raises:
        SettingError: ``size`` is below 1.
    """
    return _shrunk(pixels, size, min(pixels.shape[:2]))


def middle_square(photo: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Crop the largest square from the middle of a photo and resize it.

    Args:
        photo: ``(H, W, 3)``, RGB in [0, 1].
        size: Side length of the result in pixels.

    Returns:
        The resized square, ``(size, size, 3)``.
    """
    height, width = photo.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return resize(photo[top : top + side, left : left + side], width=size, height=size)


def fitted_size(height: int, width: int, size: int) -> tuple[int, int]:
    """Return the height and width that an image has after `fit_long_side`.

    Args:
        height: Height in pixels.
        width: Width in pixels.
        size: Maximum length of the longer side in pixels, at least 1.

    Raises:
        SettingError: ``size`` is below 1.

    Example:
        >>> fitted_size(3000, 4000, size=1000)
        (750, 1000)
    """
    return _scaled(height, width, size, max(height, width))


def _scaled(height: int, width: int, size: int, side: int) -> tuple[int, int]:
    if size < 1:
        raise SettingError(f"size must be at least 1 pixel, not {size}.")
    if side <= size:
        return height, width
    return max(1, round(height * size / side)), max(1, round(width * size / side))


def _shrunk(pixels: NDArray[np.float32], size: int, side: int) -> NDArray[np.float32]:
    before = pixels.shape[0], pixels.shape[1]
    height, width = _scaled(*before, size, side)
    return pixels if before == (height, width) else resize(pixels, width=width, height=height)
