"""Images in memory: the class `Photo`, and conversions of arrays.

Inside fststyle an image is a float32 array ``(H, W, 3)``, RGB in [0, 1], in the colour space sRGB,
upright. Everything else that image files contain (EXIF orientation, ICC profiles, transparency,
CMYK, palettes, 16 bits) is converted when they are read or written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fststyle.images.metadata import Metadata

Pixels = TypeVar("Pixels", NDArray[np.uint8], NDArray[np.float32])
"""``(H, W, 3)``, RGB: uint8 from 0 to 255, or float32 in [0, 1]."""


@dataclass(frozen=True, eq=False)
class Photo:
    """An image from a file, or for a file.

    Attributes:
        pixels: ``(H, W, 3)``, RGB in sRGB, upright: float32 in [0, 1], or uint8.
        alpha: ``(H, W)``, transparency: floats in [0, 1] or uint8; 1 or 255 is opaque. None if the
            image has no transparency.
        metadata: Content of the file in addition to the pixels, such as EXIF.
        bits: Bits per channel of the file: 16 if it has more than 8.

    Example:
        >>> photo = Photo(np.zeros((2, 3, 3), dtype=np.float32))
        >>> photo.alpha is None, photo.bits
        (True, 8)
    """

    pixels: NDArray[Any]
    alpha: NDArray[Any] | None = None
    metadata: Metadata = Metadata()
    bits: int = 8


def to_pil(pixels: NDArray[Any], alpha: NDArray[Any] | None = None) -> Image.Image:
    """Convert an array to a pillow image of 8 bits.

    Args:
        pixels: ``(H, W, 3)``, RGB; uint8, or floats, which are clamped to [0, 1] and rounded.
        alpha: ``(H, W)``, transparency; uint8, or floats, of which 1 is opaque.

    Returns:
        An image of mode RGB, or of mode RGBA if ``alpha`` is given.

    Example:
        >>> to_pil(np.zeros((2, 3, 3))).size
        (3, 2)
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"pixels must have the shape (H, W, 3), not {pixels.shape}")
    rgb = to_uint8(pixels)
    return Image.fromarray(rgb if alpha is None else np.dstack((rgb, to_uint8(alpha))))


def over_white(pixels: NDArray[Any], alpha: NDArray[Any]) -> NDArray[np.float32]:
    """Place a transparent image on a white background.

    Args:
        pixels: ``(H, W, 3)``; uint8, or floats in [0, 1].
        alpha: ``(H, W)``, transparency; uint8, or floats in [0, 1].

    Returns:
        ``(H, W, 3)`` in [0, 1].
    """
    opacity = as_floats(alpha)[:, :, None]
    return np.asarray(as_floats(pixels) * opacity + (1.0 - opacity), dtype=np.float32)


def as_floats(values: NDArray[Any]) -> NDArray[np.floating]:
    """Convert uint8 to floats in [0, 1]; clamp floats."""
    is_bytes = values.dtype == np.uint8
    return np.asarray(values / np.float32(255) if is_bytes else np.clip(values, 0.0, 1.0))


def to_floats(image: Image.Image) -> NDArray[np.float32]:
    """Convert a pillow image of 8 bits to float32 in [0, 1]."""
    return np.asarray(image).astype(np.float32) / np.float32(255.0)


def to_uint8(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Clamp floats to [0, 1] and round them to uint8; return uint8 unchanged."""
    if values.dtype == np.uint8:
        return values
    return np.asarray(np.rint(np.clip(values, 0.0, 1.0) * 255.0), dtype=np.uint8)


def to_uint16(values: NDArray[Any]) -> NDArray[np.uint16]:
    """Clamp floats to [0, 1] and round them to uint16; scale uint8 up."""
    return np.asarray(np.rint(as_floats(values) * 65_535.0), dtype=np.uint16)
