"""Images in memory: the class `Photo`, and conversions between array types.

Inside fststyle, an image is an upright float32 array ``(H, W, 3)``, RGB in [0, 1], in the sRGB
colour space. Other features of image files (EXIF orientation, ICC profiles, transparency, CMYK,
palettes, 16 bits) are handled when files are read or written.
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
    """An image that was read from a file, or that can be written to one.

    Attributes:
        pixels: Upright sRGB image, ``(H, W, 3)``: float32 in [0, 1], or uint8.
        alpha: Transparency, ``(H, W)``: floats in [0, 1], or uint8; 1 or 255 is opaque. ``None`` if
            the image has no transparency.
        metadata: Metadata of the file, such as EXIF.
        bits: Bits per channel in the file: 8, or 16 if the file has more than 8.

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
    """Convert an array to an 8-bit Pillow image.

    Args:
        pixels: RGB image, ``(H, W, 3)``: uint8, or floats, which are clamped to [0, 1] and rounded.
        alpha: Transparency, ``(H, W)``: uint8, or floats, where 1 is opaque.

    Returns:
        An image in mode RGB, or in mode RGBA if ``alpha`` is given.

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
        pixels: Image, ``(H, W, 3)``: uint8, or floats in [0, 1].
        alpha: Transparency, ``(H, W)``: uint8, or floats in [0, 1].

    Returns:
        The opaque image, ``(H, W, 3)`` in [0, 1].
    """
    opacity = as_floats(alpha)[:, :, None]
    return np.asarray(as_floats(pixels) * opacity + (1.0 - opacity), dtype=np.float32)


def as_floats(values: NDArray[Any]) -> NDArray[np.floating]:
    """Convert uint8 values to floats in [0, 1], or clamp floats to that range."""
    is_bytes = values.dtype == np.uint8
    return np.asarray(values / np.float32(255) if is_bytes else np.clip(values, 0.0, 1.0))


def to_floats(image: Image.Image) -> NDArray[np.float32]:
    """Convert an 8-bit Pillow image to float32 in [0, 1]."""
    return np.asarray(image).astype(np.float32) / np.float32(255.0)


def to_uint8(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Convert floats, clamped to [0, 1], to uint8. Arrays of uint8 are returned unchanged."""
    if values.dtype == np.uint8:
        return values
    return np.asarray(np.rint(np.clip(values, 0.0, 1.0) * 255.0), dtype=np.uint8)


def to_uint16(values: NDArray[Any]) -> NDArray[np.uint16]:
    """Convert uint8 values, or floats clamped to [0, 1], to uint16."""
    return np.asarray(np.rint(as_floats(values) * 65_535.0), dtype=np.uint16)
