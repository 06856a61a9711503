"""Colours of images with transparency."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fststyle.images.photo import as_floats, to_uint8
from fststyle.images.resize import fitted_size, resize


def fill_transparent(pixels: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    """Replace the colours of invisible pixels with those of the visible pixels around them.

    Files store any colour, often black, under fully transparent pixels. A network would draw these
    colours into the visible parts.

    Args:
        pixels: RGB image, ``(H, W, 3)``: uint8, or floats in [0, 1].
        alpha: Transparency, ``(H, W)``, of the same dtype; 0 is invisible.

    Returns:
        An image of the same shape and dtype, or ``pixels`` itself if all pixels are visible.

    Example:
        >>> row = np.array([[[1, 0, 0], [0, 1, 0]]], np.float32)
        >>> fill_transparent(row, np.array([[1, 0]], np.float32))[0].tolist()
        [[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]
    """
    visible = (alpha > 0)[:, :, None]
    if visible.all():
        return pixels
    is_bytes = pixels.dtype == np.uint8
    around: NDArray[Any] = _spread(pixels * visible, visible * np.float32(255 if is_bytes else 1))
    around = to_uint8(around) if is_bytes else around.astype(pixels.dtype)
    height, width = alpha.shape
    return np.where(visible, pixels, around.repeat(2, axis=0).repeat(2, axis=1)[:height, :width])


def _spread(sums: NDArray[Any], weights: NDArray[Any]) -> NDArray[np.float32]:
    """Return the mean colours of 2×2 pixels, taken from larger blocks where all are invisible."""
    sums, weights = _summed(sums), _summed(weights)
    means = np.asarray(sums / np.maximum(weights, 1), np.float32)
    height, width = weights.shape[:2]
    if max(height, width) == 1 or weights.all():
        return means
    return np.where(weights > 0, means, resize(_spread(sums, weights), width=width, height=height))


def _summed(values: NDArray[Any]) -> NDArray[np.float32]:
    height, width = values.shape[:2]
    padded = np.pad(values, ((0, height % 2), (0, width % 2), (0, 0)))
    rows = np.add(padded[0::2], padded[1::2], dtype=np.float32)
    return np.asarray(rows[:, 0::2] + rows[:, 1::2], np.float32)


def resize_transparent(
    pixels: NDArray[Any], alpha: NDArray[Any], *, width: int, height: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Resize an image and its transparency. Each pixel counts as much as it is visible.

    Args:
        pixels: RGB image, ``(H, W, 3)``: uint8, or floats in [0, 1].
        alpha: Transparency, ``(H, W)``, of the same dtype.
        width: New width, at least 1.
        height: New height, at least 1.

    Returns:
        The resized image and its transparency, of the same dtypes.
    """
    if alpha.shape == (height, width):
        return pixels, alpha
    opacity = as_floats(alpha)[:, :, None]
    weights = resize(opacity, width=width, height=height)
    colours = resize(as_floats(pixels) * opacity, width=width, height=height)
    plain = resize(as_floats(pixels), width=width, height=height)
    colours = np.where(weights > 1 / 255, np.minimum(colours / np.maximum(weights, 1e-6), 1), plain)
    new_alpha = resize(alpha, width=width, height=height)
    return to_uint8(colours) if pixels.dtype == np.uint8 else colours, new_alpha


def fit_transparent(
    pixels: NDArray[Any], alpha: NDArray[Any], size: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Shrink an image and its transparency so that the longer side is at most ``size``."""
    height, width = fitted_size(alpha.shape[0], alpha.shape[1], size)
    return resize_transparent(pixels, alpha, width=width, height=height)
