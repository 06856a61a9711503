"""Pictures from and to files; `fststyle.images.animation` does the same for moving ones.

Inside fststyle a picture is a float32 array ``(H, W, 3)``, RGB in [0, 1], in the sRGB colour
space, upright. Everything else that files hold (EXIF orientation, ICC profiles, alpha, CMYK,
palettes, 16 bits) is settled here, on the way in or out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fststyle.images.metadata import Metadata


@dataclass(frozen=True, eq=False)
class Photo:
    """A picture as it came from a file.

    Attributes:
        pixels: ``(H, W, 3)``, RGB, sRGB, upright: float32 in [0, 1], or uint8 where that was
            asked for.
        alpha: ``(H, W)``, likewise, 1 or 255 is opaque; None where the file has no transparency.
        metadata: What the file says beside.
        bits: 16 where the file has more than 8 bits a channel.
    """

    pixels: NDArray[Any]
    alpha: NDArray[Any] | None = None
    metadata: Metadata = Metadata()
    bits: int = 8


def to_pil(pixels: NDArray[Any], alpha: NDArray[Any] | None = None) -> Image.Image:
    """Convert to an 8-bit pillow image.

    Args:
        pixels: ``(H, W, 3)``, RGB; uint8, or floats, which are clamped to [0, 1] and rounded.
        alpha: ``(H, W)``, likewise, 1 or 255 is opaque.

    Returns:
        An image of mode RGB, or of mode RGBA where ``alpha`` is given.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"pixels must have the shape (H, W, 3), not {pixels.shape}")
    rgb = to_bytes(pixels)
    return Image.fromarray(rgb if alpha is None else np.dstack((rgb, to_bytes(alpha))))


def over_white(pixels: NDArray[Any], alpha: NDArray[Any]) -> NDArray[np.float32]:
    """Blend ``(H, W, 3)`` over white by ``alpha`` ``(H, W)``; uint8 or floats in, floats out."""
    opacity = as_floats(alpha)[:, :, None]
    return np.asarray(as_floats(pixels) * opacity + (1.0 - opacity), dtype=np.float32)


def as_floats(values: NDArray[Any]) -> NDArray[np.floating]:
    """Convert uint8, or floats (which are clamped), to floats in [0, 1]."""
    is_bytes = values.dtype == np.uint8
    return np.asarray(values / np.float32(255) if is_bytes else np.clip(values, 0.0, 1.0))


def to_bytes(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Clamp floats in [0, 1] and round them to uint8; return uint8 as it is."""
    if values.dtype == np.uint8:
        return values
    return np.asarray(np.rint(np.clip(values, 0.0, 1.0) * 255.0), dtype=np.uint8)


def to_floats(image: Image.Image) -> NDArray[np.float32]:
    """Convert an 8-bit pillow image to float32 in [0, 1]."""
    return np.asarray(image).astype(np.float32) / np.float32(255.0)


def to_words(values: NDArray[Any]) -> NDArray[np.uint16]:
    """Clamp and round floats, or expand uint8, to uint16."""
    return np.asarray(np.rint(as_floats(values) * 65_535.0), dtype=np.uint16)


Pixels = TypeVar("Pixels", NDArray[np.uint8], NDArray[np.float32])
"""``(H, W, 3)``, RGB, 0 to 255 or in [0, 1]."""
