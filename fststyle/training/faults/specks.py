"""Worms and specks: fine lines and dots in flat areas, where the artwork has none."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fststyle.training.faults.pixels import Pixels

_SIGMAS: Final = (0.5, 1, 2, 4, 8)
"""Blurs between which the bands of the spectrum lie, an octave each."""
_WINDOW: Final = 48  # side in pixels
_BORDER: Final = 16  # pixels of the image that are ignored, because blurs go beyond it
_FLOOR: Final = 2 / 255  # strength that an eye notices on plain ground
_MASKING: Final = 0.5  # share of the artwork's own texture that hides more of it


def specks(result: Pixels, artwork: Pixels) -> float:
    """Measure the fine texture of a stylised sky that exceeds the texture of the artwork.

    In windows of 48 pixels, the strength of each octave of the spectrum is its fourth-power mean,
    (mean d⁴)^(1/4), which gives more weight to sparse specks than the standard deviation does. The
    strength in the sky (90 % quantile over the windows) is compared with the strength in flat areas
    of the artwork (25 % quantile). The excess is divided by 2/255 plus half the strength in the
    artwork.

    Args:
        result: Stylised photo of a clear sky, ``(H, W, 3)``, RGB in [0, 1].
        artwork: Style image ``(h, w, 3)`` in the size used for training, RGB in [0, 1].

    Returns:
        The ratio for the octave with the highest one; 0 if the artwork has more texture everywhere.
    """
    ratios = [0.0]
    for sky, own in zip(_strengths(result), _strengths(artwork), strict=True):
        usual = float(np.quantile(own, 0.25))
        ratios.append((float(np.quantile(sky, 0.9)) - usual) / (_FLOOR + _MASKING * usual))
    return max(ratios)


def _strengths(image: Pixels) -> list[NDArray[np.float64]]:
    """Return the strength in each window of each octave, of the channel where it is highest."""
    border = min(_BORDER, min(image.shape[:2]) // 4)
    rows, columns = (max(1, (side - 2 * border) // _WINDOW) for side in image.shape[:2])
    blurred = [ndimage.gaussian_filter(image, (sigma, sigma, 0)) for sigma in _SIGMAS]
    strengths = []
    for fine, coarse in pairwise(blurred):
        inside = (fine - coarse)[border:-border, border:-border].astype(np.float64)
        detail = inside[: rows * _WINDOW, : columns * _WINDOW]
        windows = detail.reshape(rows, len(detail) // rows, columns, -1, 3)
        strengths.append(((windows**4).mean(axis=(1, 3)) ** 0.25).max(axis=-1).ravel())
    return strengths
