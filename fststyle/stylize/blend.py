"""Control over a style: how much of it, where, in whose colours, and mixed with which others.

Pictures are float32 ``(H, W, 3)``, RGB in [0, 1], as everywhere. They are mixed in sRGB as it is
stored, not in linear light, where the brighter one of two pictures outweighs the other: seen side
by side at equal weights the two differ little, but dark strokes keep more of their contrast so.
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

_RED: Final = np.float32(0.2126)  # of luma, by ITU-R BT.709, whose primaries sRGB has
_BLUE: Final = np.float32(0.0722)
_ROWS: Final = 256  # worked on at a time, to need little memory beside the pictures


def style_weights(style: str | os.PathLike[str] | Mapping[str, float]) -> dict[str, float]:
    """Say how much of which style a blend holds.

    Args:
        style: One style; several as ``"great_wave:0.6,thanos_poster:0.4"``, where a weight that
            is left out is 1; or such a mapping. The name of a file that is there is one style,
            whatever it contains.

    Returns:
        The styles and their weights, which add up to 1. Styles of weight 0 are left out.

    Raises:
        SettingError: A weight is negative or no number, or all of them are 0.
    """
    if not isinstance(style, str | os.PathLike | Mapping):
        raise SettingError(f"A style must be a name, a path or a mapping of them, not {style!r}.")
    if isinstance(style, Mapping):
        pairs = list(style.items())
    else:
        text = os.fspath(style)
        one = os.path.isfile(text) or ("," not in text and not re.search(r":[^:/\\]*$", text))
        pairs = [(text, 1.0)] if one else [_pair(item) for item in text.split(",")]
        if len(pairs) == 1 and pairs[0][1] not in (0, 1):
            raise SettingError(
                f"A weight needs several styles; for {pairs[0][0]} at less than its full strength "
                "use --strength."
            )
    weights: dict[str, float] = {}
    for name, weight in pairs:
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not weight >= 0:
            raise SettingError(f"The weight of {name} must be a number from 0, not {weight!r}.")
        weights[name] = weights.get(name, 0.0) + weight
    total = math.fsum(weights.values())
    if not 0 < total < math.inf:
        raise SettingError(f"The weights of {style!r} must add up to more than 0.")
    return {name: weight / total for name, weight in weights.items() if weight > 0}


def mix(images: Iterable[Pixels], weights: Sequence[float]) -> Pixels:
    """Return the weighted mean of images.

    Args:
        images: At least one image ``(H, W, 3)``; several must be float32. If this is an
            iterator, only one image of it is in memory at a time.
        weights: One weight for each image. They add up to 1.

    Returns:
        ``(H, W, 3)``; a single image is returned unchanged.
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
    """Go from one picture to another.

    Args:
        start: ``(H, W, 3)``.
        end: ``(H, W, 3)``.
        amount: From 0, exactly ``start``, to 1, exactly ``end``; or ``(H, W)``, for each pixel.

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
    """Weigh the channels as ITU-R BT.709 does: ``(H, W, 3)`` → ``(H, W)``; of grey, exactly it."""
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    result: NDArray[np.float32] = green + _RED * (red - green) + _BLUE * (blue - green)
    return result


def keep_colors(photo: NDArray[np.float32], picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give a stylised picture the colours of the photo ("luminance-only transfer").

    The result has the picture's luma Y' and the photo's colour differences R'-Y', G'-Y' and
    B'-Y' (Gatys et al. 2016, "Preserving Color in Neural Artistic Style Transfer", section 3,
    who use YIQ). Where that leaves [0, 1], the colour differences of the pixel shrink alike, as
    far as needed: it pales, but neither its luma nor its hue changes as clipping would.

    Args:
        photo: ``(H, W, 3)``.
        picture: ``(H, W, 3)``, the photo stylised.

    Returns:
        A new array, ``(H, W, 3)``.
    """
    result = np.empty_like(photo)
    for rows in _bands(photo):
        level = luma(picture[rows])[..., None]
        color = photo[rows] - luma(photo[rows])[..., None]
        room = np.where(color > 0, 1 - level, level)
        # A difference that is nearly 0 has room enough.
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
            f"{item.strip()!r} is no style with a weight; write great_wave:0.6,thanos_poster:0.4."
        )
    return name, number


def _bands(pixels: NDArray[np.float32]) -> Iterable[slice]:
    return (slice(top, top + _ROWS) for top in range(0, len(pixels), _ROWS))
