"""Converting colours to sRGB with an image's ICC profile.

LittleCMS, called through Pillow, converts 8-bit images with any profile. LittleCMS would reduce
16-bit images to 8 bits. Such images are therefore converted in floating point if the profile
consists of a curve for each channel and a matrix (ICC.1:2022, 8.3.3 and F.3). Most profiles used by
cameras and programs have this form: Display P3, Adobe RGB, ProPhoto RGB, Rec. 2020, and all
greyscale profiles.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

Array = NDArray[np.float32]
Curve = Callable[[Array], Array]


@cache
def srgb_profile() -> bytes:
    """Return the ICC profile to embed in output files. The bytes are always the same."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # Bytes 24 to 35 store the creation time. Use a fixed time, so that equal images give equal
    # files.
    return profile[:24] + bytes.fromhex("07d0 0001 0001 0000 0000 0000") + profile[36:]


def is_srgb(profile: bytes) -> bool:
    """Return ``True`` for the most common sRGB profiles, which need no conversion."""
    try:
        description = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(BytesIO(profile)))
    except (ImageCms.PyCMSError, OSError):
        return False
    return description.strip() in ("sRGB IEC61966-2.1", "sRGB built-in", "sRGB")


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert an 8-bit image to sRGB.

    Args:
        image: Image in mode L, RGB or CMYK, or in a mode that can be converted to RGB.
        profile: Embedded ICC profile. A profile that is damaged or does not match the image's mode
            is ignored.

    Returns:
        An image in mode RGB, or ``image`` itself if nothing needs to be converted.
    """
    if is_srgb(profile):
        return image
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        if source.profile.xcolor_space == "RGB " and image.mode != "CMYK":
            image = image.convert("RGB")
        srgb, intent = ImageCms.createProfile("sRGB"), ImageCms.Intent.RELATIVE_COLORIMETRIC
        flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
        return ImageCms.profileToProfile(image, source, srgb, intent, "RGB", flags=flags) or image
    except (ImageCms.PyCMSError, OSError):
        return image


@dataclass(frozen=True, eq=False)
class MatrixProfile:
    """A colour space defined by curves and a matrix.

    Attributes:
        curves: Functions that map a channel's values to linear light, both in [0, 1]. There is one
            function for each channel: three for RGB, one for greyscale.
        matrix: ``(3, 3)`` matrix from linear RGB to CIE XYZ under D50. ``None`` for greyscale.
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
"""Colour space of camera JPEGs that have no profile but are marked R03 in EXIF (DCF 2.0)."""


def gamma_profile(exponent: float) -> MatrixProfile | None:
    """Return the colour space of a PNG file with a gAMA chunk, or ``None`` if it is close to sRGB.

    Args:
        exponent: Value of the chunk: the exponent with which light was encoded, such as 1 / 2.2.
    """
    if not 0.05 < exponent < 5 or abs(exponent * 2.2 - 1) < 0.05:
        return None
    return MatrixProfile((_power(1 / exponent),), None)


def read_matrix_profile(profile: bytes) -> MatrixProfile | None:
    """Read an ICC profile that consists of curves and a matrix.

    Args:
        profile: Embedded ICC profile.

    Returns:
        The profile, or ``None`` if it is damaged or of another kind (tables, CMYK, Lab).
    """
    try:
        tags = _read_tags(profile)
        if any(tag.startswith(b"A2B") for tag in tags):
            return None  # tables take priority over the matrix
        if profile[16:20] == b"GRAY":
            return MatrixProfile((_read_curve(tags[b"kTRC"]),), None)
        if profile[16:24] != b"RGB XYZ ":
            return None
        matrix = np.array(
            [struct.unpack_from(">3i", tags[c + b"XYZ"], 8) for c in (b"r", b"g", b"b")]
        )
        curves = tuple(_read_curve(tags[c + b"TRC"]) for c in (b"r", b"g", b"b"))
    except (KeyError, ValueError, ZeroDivisionError, struct.error):
        return None
    matrix = matrix.T / 65536
    return MatrixProfile(curves, matrix) if abs(np.linalg.det(matrix)) > 1e-6 else None


def to_srgb_precisely(pixels: Array, profile: MatrixProfile) -> Array:
    """Convert an image to sRGB in floating point, with relative colorimetric intent.

    Unlike `to_srgb`, this function does not apply black point compensation, because the black point
    is zero in the colour spaces used for photographs.

    Args:
        pixels: ``(H, W, 3)`` in [0, 1], in the profile's colour space. A greyscale image has
            three equal channels.
        profile: Colour space of the pixels.

    Returns:
        ``(H, W, 3)`` in [0, 1]. Colours outside sRGB are clipped.
    """
    with np.errstate(all="ignore"):  # a damaged profile may contain any numbers
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


def _read_tags(profile: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack_from(">I", profile, 128)
    tags = {}
    for index in range(min(count, 100)):
        name, offset, size = struct.unpack_from(">4sII", profile, 132 + 12 * index)
        tags[name] = profile[offset : offset + size]
    return tags


def _read_curve(tag: bytes) -> Curve:
    """Read a sampled curve (ICC.1:2022, 10.6) or a parametric curve (10.18)."""
    if tag[:4] == b"curv":
        (count,) = struct.unpack_from(">I", tag, 8)
        entries = np.array(struct.unpack_from(f">{min(count, 65_536)}H", tag, 12))
        if count == 0:
            return _power(1.0)
        if count == 1:
            return _power(entries[0] / 256)
        positions = np.linspace(0.0, 1.0, len(entries))
        return lambda values: np.interp(values, positions, entries / 65_535).astype(np.float32)
    if tag[:4] != b"para":
        raise ValueError("not a curve")
    kind = struct.unpack_from(">H", tag, 8)[0]
    if kind > 4:
        raise ValueError("unknown kind of curve")
    values = struct.unpack_from(f">{(1, 3, 4, 5, 7)[kind]}i", tag, 12)
    g, a, b, c, d, e, f = _curve_parameters(kind, *(value / 65_536 for value in values))

    def parametric(values: Array) -> Array:
        curved = np.maximum(a * values + b, 0.0) ** np.float32(g) + e
        return np.asarray(np.where(values >= d, curved, c * values + f), dtype=np.float32)

    return parametric


def _curve_parameters(kind: int, g: float, *values: float) -> tuple[float, ...]:
    """Return g, a, b, c, d, e, f. The curve is ``c x + f`` below d else ``(a x + b)^g + e``."""
    if kind == 0:
        return g, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0
    if kind in (1, 2):
        a, b, above = (*values, 0.0)[:3]
        return g, a, b, 0.0, -b / a, above, above
    return (g, *values, 0.0, 0.0)[:7]
