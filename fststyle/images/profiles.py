"""ICC profiles of displays and working spaces, applied in floating point.

Pillow's transforms (LittleCMS) are made for 8 bits. Pictures of 16 bits go through here where their
profile has a curve for each channel and a matrix (ICC.1:2022, 8.3.3 and F.3), which is what
cameras and programs embed: Display P3, Adobe RGB, ProPhoto RGB, Rec. 2020, greyscales.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fststyle.images.colour import srgb_profile

Array = NDArray[np.float32]
Curve = Callable[[Array], Array]


@dataclass(frozen=True, eq=False)
class MatrixProfile:
    """A profile of curves and a matrix.

    Attributes:
        curves: From a channel's value to its linear light, both in [0, 1]; one for greyscale.
        matrix: ``(3, 3)``, from linear RGB to CIE XYZ under D50; None for greyscale.
    """

    curves: tuple[Curve, ...]
    matrix: NDArray[np.float64] | None


def _power(exponent: float) -> Curve:
    return lambda values: values ** np.float32(exponent)


# Adobe RGB (1998) Color Image Encoding, 4.3.1.2 and 4.3.6.1: XYZ under D50.
ADOBE_RGB: Final = MatrixProfile(
    (_power(563 / 256),) * 3,
    np.array(
        [[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]]
    ),
)
"""The space of a camera's JPEG without a profile that calls itself R03 in EXIF (DCF 2.0)."""


def read_matrix_profile(profile: bytes) -> MatrixProfile | None:
    """Read a profile.

    Args:
        profile: The ICC profile of a file.

    Returns:
        None where it is of another kind (tables, CMYK, Lab), or damaged.
    """
    try:
        tags = _tags(profile)
        if any(tag.startswith(b"A2B") for tag in tags):
            return None  # tables go before the matrix
        if profile[16:20] == b"GRAY":
            return MatrixProfile((_curve(tags[b"kTRC"]),), None)
        if profile[16:24] != b"RGB XYZ ":
            return None
        matrix = np.array(
            [struct.unpack_from(">3i", tags[c + b"XYZ"], 8) for c in (b"r", b"g", b"b")]
        )
        curves = tuple(_curve(tags[c + b"TRC"]) for c in (b"r", b"g", b"b"))
    except (KeyError, ValueError, struct.error):
        return None
    matrix = matrix.T / 65536
    return MatrixProfile(curves, matrix) if abs(np.linalg.det(matrix)) > 1e-6 else None


def to_srgb_precisely(pixels: Array, profile: MatrixProfile) -> Array:
    """Convert a picture to sRGB, without rounding to 8 bits; relative colorimetric.

    Unlike `fststyle.images.colour.to_srgb` this does not compensate the black point: of working
    spaces it is zero.

    Args:
        pixels: ``(H, W, 3)`` in [0, 1], in the profile's space. Greyscale is three times the same.
        profile: Of `read_matrix_profile`.

    Returns:
        ``(H, W, 3)`` in [0, 1]; colours that sRGB does not have are clipped.
    """
    with np.errstate(all="ignore"):  # a damaged profile may have any numbers
        if profile.matrix is None:
            linear = profile.curves[0](pixels)
        else:
            channels = [curve(pixels[..., c]) for c, curve in enumerate(profile.curves)]
            matrix = np.linalg.inv(_srgb_matrix()) @ profile.matrix
            linear = np.stack(channels, axis=2) @ matrix.T.astype(np.float32)
    linear = np.clip(np.nan_to_num(linear, nan=0.0), 0.0, 1.0)
    # IEC 61966-2-1.
    curved = 1.055 * linear ** np.float32(1 / 2.4) - 0.055
    return np.asarray(np.where(linear <= 0.0031308, 12.92 * linear, curved), dtype=np.float32)


@cache
def _srgb_matrix() -> NDArray[np.float64]:
    profile = read_matrix_profile(srgb_profile())
    assert profile is not None
    assert profile.matrix is not None
    return profile.matrix


def _tags(profile: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack_from(">I", profile, 128)
    tags = {}
    for index in range(min(count, 100)):
        name, offset, size = struct.unpack_from(">4sII", profile, 132 + 12 * index)
        tags[name] = profile[offset : offset + size]
    return tags


def _curve(tag: bytes) -> Curve:
    """Read a curve (ICC.1:2022, 10.6) or a parametric one (10.18)."""
    if tag[:4] == b"curv":
        (count,) = struct.unpack_from(">I", tag, 8)
        entries = np.array(struct.unpack_from(f">{min(count, 65_536)}H", tag, 12))
        if count == 0:
            return _power(1.0)
        if count == 1:
            return _power(entries[0] / 256)
        places = np.linspace(0.0, 1.0, len(entries))
        return lambda values: np.interp(values, places, entries / 65_535).astype(np.float32)
    if tag[:4] != b"para":
        raise ValueError("not a curve")
    kind = struct.unpack_from(">H", tag, 8)[0]
    if kind > 4:
        raise ValueError("an unknown curve")
    numbers = struct.unpack_from(f">{(1, 3, 4, 5, 7)[kind]}i", tag, 12)
    g, a, b, c, d, e, f = _parameters(kind, [number / 65_536 for number in numbers])

    def parametric(values: Array) -> Array:
        curved = np.maximum(a * values + b, 0.0) ** np.float32(g) + e
        return np.asarray(np.where(values >= d, curved, c * values + f), dtype=np.float32)

    return parametric


def _parameters(kind: int, values: list[float]) -> tuple[float, ...]:
    """Return g, a, b, c, d, e, f: ``(a x + b)^g + e`` from d on, ``c x + f`` below."""
    if kind == 0:
        return (values[0], 1.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    g, a, b = values[:3]
    if kind in (1, 2):
        if a == 0:
            raise ValueError("a curve without a slope")
        above = values[3] if kind == 2 else 0.0
        return (g, a, b, 0.0, -b / a, above, above)
    c, d = values[3:5]
    e, f = values[5:7] if kind == 4 else (0.0, 0.0)
    return (g, a, b, c, d, e, f)
