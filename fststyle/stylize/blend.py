"""Blending styles, adjusting their strength, and keeping the colours of the photo.

All images are float32 RGB arrays ``(H, W, 3)`` in [0, 1]. The sRGB values are mixed directly, not
in linear light, where the brighter of two images would outweigh the other. The difference is small,
but in sRGB, dark strokes keep more of their contrast.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fststyle.errors import SettingError
from fststyle.images.photo import Pixels

_RED: Final = np.float32(0.2126)  # luma of ITU-R BT.709, which uses the same primaries as sRGB
_BLUE: Final = np.float32(0.0722)
_ROWS: Final = 256  # rows processed at a time, to save memory


def style_weights(style: str | os.PathLike[str] | Mapping[str, float]) -> dict[str, float]:
    """Parse a style, or a blend of styles, and return the names and weights.

    Args:
        style: One style, a blend such as ``"great_wave:0.6,thanos_poster:0.4"``, or a mapping of
            styles to weights. The default weight is 1. The path of an existing file is always
            treated as one style, even if it contains commas or colons.

    Returns:
        The styles and their weights, which add up to 1. Styles with a weight of 0 are omitted.

    Raises:
        SettingError: A weight is negative or not a number, or all weights are 0 (code
            ``bad_weight``).

    Example:
        >>> style_weights("great_wave:3,thanos_poster:1")
        {'great_wave': 0.75, 'thanos_poster': 0.25}
    """
    if not isinstance(style, str | os.PathLike | Mapping):
        raise SettingError(
            f"A style must be a name, a path, or a mapping of these to weights, not {style!r}."
        )
    if isinstance(style, Mapping):
        pairs = list(style.items())
    else:
        text = os.fspath(style)
        one = os.path.isfile(text) or ("," not in text and not re.search(r":[^:/\\]*$", text))
        pairs = [(text, 1.0)] if one else [_pair(item) for item in text.split(",")]
        if len(pairs) == 1 and pairs[0][1] not in (0, 1):
            raise SettingError(
                "A weight has no effect on a single style.",
                remedy=f"To weaken {pairs[0][0]}, set strength instead.",
                code="single_weight",
                details={"style": pairs[0][0]},
            )
    weights: dict[str, float] = {}
    for name, weight in pairs:
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not weight >= 0:
            raise SettingError(
                f"The weight of {name} must be a number of at least 0, not {weight!r}.",
                code="bad_weight",
            )
        weights[name] = weights.get(name, 0.0) + weight
    total = math.fsum(weights.values())
    if not 0 < total < math.inf:
        raise SettingError(
            f"The weights of {style!r} must add up to more than 0.", code="bad_weight"
        )
    return {name: weight / total for name, weight in weights.items() if weight > 0}


def mix(images: Iterable[Pixels], weights: Sequence[float]) -> Pixels:
    """Return the weighted mean of images.

    Args:
        images: At least one image ``(H, W, 3)``. Several images must all be float32. An iterator
            is consumed one image at a time, to save memory.
        weights: One weight per image. The weights must add up to 1.

    Returns:
        The mean ``(H, W, 3)``. A single image is returned unchanged.
    """
    total: Any = None
    for image, weight in zip(images, weights, strict=True):
        if len(weights) == 1:
            return image
        part = np.float32(weight) * image
        total = part if total is None else np.add(total, part, out=total)
    if total is None:
        raise ValueError("there is no image to mix")
    result: Pixels = np.clip(total, 0, 1, out=total)
    return result


def between(
    start: NDArray[np.float32], end: NDArray[np.float32], amount: float | NDArray[np.float32]
) -> NDArray[np.float32]:
    """Interpolate between two images.

    Args:
        start: Image ``(H, W, 3)`` that is returned if ``amount`` is 0.
        end: Image ``(H, W, 3)`` that is returned if ``amount`` is 1.
        amount: Position between ``start`` and ``end``, from 0 to 1: one number, or an array
            ``(H, W)`` with a number for each pixel.

    Returns:
        A new array, ``(1 - amount) · start + amount · end``.
    """
    result = np.empty_like(start)
    for rows in _bands(start):
        share = np.float32(amount) if np.ndim(amount) == 0 else np.asarray(amount)[rows, :, None]
        np.multiply(start[rows], 1 - share, out=result[rows])
        result[rows] += share * end[rows]
    return np.clip(result, 0, 1, out=result)


def luma(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the ITU-R BT.709 luma ``(H, W)``. The luma of a grey image is its grey level."""
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    result: NDArray[np.float32] = green + _RED * (red - green) + _BLUE * (blue - green)
    return result


def keep_colors(photo: NDArray[np.float32], image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give a stylised image the colours of the photo ("luminance-only transfer").

    The result has the luma Y' of the stylised image, and the colour differences R'-Y', G'-Y' and
    B'-Y' of the photo (Gatys et al. 2016, "Preserving Color in Neural Artistic Style Transfer",
    section 3, which uses YIQ). If a pixel would fall outside [0, 1], all three of its colour
    differences are scaled down by the same factor. This makes the pixel paler but, unlike
    clipping, changes neither its luma nor its hue.

    Args:
        photo: Photo ``(H, W, 3)``.
        image: Stylised photo ``(H, W, 3)``.

    Returns:
        A new array ``(H, W, 3)``.

    Example:
        >>> photo = np.full((8, 8, 3), (0.8, 0.4, 0.4), np.float32)
        >>> grey = np.full((8, 8, 3), 0.5, np.float32)
        >>> print(keep_colors(photo, grey)[0, 0].round(2))
        [0.81 0.41 0.41]
    """
    result = np.empty_like(photo)
    for rows in _bands(photo):
        level = luma(image[rows])[..., None]
        color = photo[rows] - luma(photo[rows])[..., None]
        room = np.where(color > 0, 1 - level, level)
        # The lower limit avoids a division by 0: a difference close to 0 always fits.
        fits = room / np.maximum(np.abs(color), np.float32(1e-6))
        color *= np.clip(fits.min(axis=2, keepdims=True), 0, 1)
        np.add(level, color, out=result[rows])
    return np.clip(result, 0, 1, out=result)


def _pair(item: str) -> tuple[str, float]:
    name, colon, weight = item.strip().rpartition(":")
    if not colon:
        name, weight = weight, "1"
    try:
        number = float(weight)
    except ValueError:
        number = math.nan
    if not name or not 0 <= number < math.inf:
        raise SettingError(
            f"Cannot parse {item.strip()!r} as a style and its weight.",
            remedy="Write a blend like this: great_wave:0.6,thanos_poster:0.4.",
            code="bad_weight",
        )
    return name, number


def _bands(pixels: NDArray[np.float32]) -> Iterable[slice]:
    return (slice(top, top + _ROWS) for top in range(0, len(pixels), _ROWS))
