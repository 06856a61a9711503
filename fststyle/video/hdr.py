"""Converting HDR frames (HLG and PQ) to BT.709, for which networks are trained.

Sources: ITU-R BT.2100 (both transfer functions, and HLG's OOTF), BT.2390 section 5.4.1 (the curve
that compresses highlights), BT.2408 (reference white: 203 cd/m²), BT.2087 (the matrix). BT.2390
applies its curve to each channel or to the luminance; here, the largest channel determines one
factor for all three, which keeps the hue. BT.2390's curve is flat at the peak; here, it still
rises, so that the brightest parts keep their contrast.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

_PQ: Final = 16  # code points of ITU-T H.273
_HLG: Final = 18
TRANSFERS: Final = (_PQ, _HLG)
"""Code points of the HDR transfer functions."""

_PEAKS: Final = {_PQ: 10_000.0, _HLG: 1000.0}  # cd/m²
_TARGET: Final = 2 * 203.0
"""Light that becomes white, in cd/m². Reference white then has about 75 % of the signal."""

_SLOPE: Final = 0.25  # at the peak

_LUMINANCE: Final = np.array([0.2627, 0.6780, 0.0593], np.float32)
_TO_BT709: Final = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)
_STEPS: Final = 4096
_MOST: Final = 32.0  # more than the light of PQ's peak, relative to white
_DROPPED_BITS: Final = 12  # of a float's 23: tables have steps of 0.05 %
_AT_ONCE: Final = 2**14
"""Number of pixels that are converted at once, so that they stay in the processor's cache."""


def to_bt709(pixels: NDArray[np.uint16], transfer: int) -> NDArray[np.uint8]:
    """Convert a frame to BT.709, compressing its highlights.

    Args:
        pixels: Frame ``(H, W, 3)``, BT.2020 RGB with HLG or PQ, levels from 0 to 65535.
        transfer: Code point of the transfer function, one of `TRANSFERS`.

    Returns:
        The frame ``(H, W, 3)``, RGB with levels from 0 to 255. White is never clipped: brighter
        grey levels stay brighter.

    Example:
        >>> white = np.full((1, 1, 3), round(0.75 * 65535), np.uint16)  # HLG's reference white
        >>> to_bt709(white, 18)[0, 0].tolist()
        [191, 191, 191]
    """
    flat = pixels.reshape(-1, 3)
    result = np.empty(flat.shape, np.uint8)
    for start in range(0, len(flat), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        result[part] = _to_bt709(flat[part].T, transfer).T
    return result.reshape(pixels.shape)


def _to_bt709(channels: NDArray[np.uint16], transfer: int) -> NDArray[np.uint8]:
    decoded, gains, factors, encoded = _tables(transfer)
    light = decoded.take(channels >> 4)
    changed = np.maximum(_TO_BT709 @ light, 0)
    # One factor for all channels: the OOTF's gain, then the compression of the largest channel.
    factor = gains.take(_index(_LUMINANCE @ light), mode="clip")
    factor *= factors.take(_index(changed.max(axis=0) * factor), mode="clip")
    changed *= factor
    return encoded.take(_index(changed), mode="clip")


def _index(light: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Return positions in a table, from the bits of the numbers: in even steps of the logarithm."""
    bits: NDArray[np.uint32] = light.view(np.uint32)
    return np.right_shift(bits, np.uint32(_DROPPED_BITS))


@cache
def _tables(
    transfer: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.uint8]]:
    """Return the tables for decoding, for HLG's OOTF, for compressing, and for encoding.

    The light in the last three tables is relative to the white of the result, or for the OOTF to
    the peak.
    """
    signal = np.arange(_STEPS) / (_STEPS - 1)
    first = np.arange(np.float32(_MOST).view(np.uint32) >> _DROPPED_BITS, dtype=np.uint32)
    middle = (first << _DROPPED_BITS) + (1 << _DROPPED_BITS - 1)
    light = middle.view(np.float32).astype(np.float64)
    peak = _PEAKS[transfer]
    gains = np.ones(len(light))
    if transfer == _HLG:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        dark, bright = signal**2 / 3, (np.exp((signal - c) / a) + b) / 12
        decoded = np.where(signal <= 0.5, dark, bright)  # light in the scene
        gains = light**0.2 * peak / _TARGET
    else:
        decoded = _from_pq(signal) / _TARGET
    before = np.minimum(light * _TARGET, peak)
    factors = _compressed(before, peak) / before
    encoded = np.rint(255 * np.minimum(light, 1) ** (1 / 2.4))  # the inverse of BT.1886
    return (
        decoded.astype(np.float32),
        gains.astype(np.float32),
        factors.astype(np.float32),
        encoded.astype(np.uint8),
    )


def _compressed(light: NDArray[np.float64], peak: float) -> NDArray[np.float64]:
    """Compress light from ``peak`` to `_TARGET`, both in cd/m² (BT.2390's EETF)."""
    whole = float(_to_pq(np.array(peak)))
    level, most = _to_pq(light) / whole, float(_to_pq(np.array(_TARGET))) / whole
    knee = 1.5 * most - 0.5
    t = np.maximum(level - knee, 0) / (1 - knee)
    spline = (
        (2 * t**3 - 3 * t**2 + 1) * knee
        + (t**3 - 2 * t**2 + t) * (1 - knee)
        + (3 * t**2 - 2 * t**3) * most
        + (t**3 - t**2) * (1 - knee) * _SLOPE
    )
    return _from_pq(np.where(level < knee, level, spline) * whole)


_M1: Final = 2610 / 16384
_M2: Final = 2523 / 32
_C1: Final = 3424 / 4096
_C2: Final = 2413 / 128
_C3: Final = 2392 / 128


def _from_pq(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    root = signal ** (1 / _M2)
    light: NDArray[np.float64] = (np.maximum(root - _C1, 0) / (_C2 - _C3 * root)) ** (1 / _M1)
    return 10_000 * light


def _to_pq(light: NDArray[np.float64]) -> NDArray[np.float64]:
    power = (light / 10_000) ** _M1
    signal: NDArray[np.float64] = ((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2
    return signal
