"""Halo: a rim around figures, because plain ground near an edge is painted differently."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fststyle.training.faults.pixels import Pixels

_BANDS = ((8, 16), (16, 28), (28, 44))  # pixels from the figure; contours are nearer than these
_FAR = 70  # pixels from the figure, beyond its influence
_BORDER = 16  # pixels of the image that are ignored, because padding affects them
_FLOOR = 0.05  # about twice the difference in colour that an eye notices on plain ground


def halo(photo: Pixels, result: Pixels, figure: NDArray[np.bool_]) -> float:
    """Measure how the ground near a figure differs in colour from the ground far away.

    The mean colours of three bands around the figure, from 8 to 44 pixels away, are compared with
    the mean colour from 70 pixels. The same difference in the photo is subtracted. Strokes as large
    as a halo hide it. Therefore the difference is divided by 0.05 plus the standard deviation of
    the distant ground, blurred with σ = 8.

    Args:
        photo: Photo ``(H, W, 3)`` of a figure on plain ground, RGB in [0, 1].
        result: Stylised photo ``(H, W, 3)``, RGB in [0, 1].
        figure: ``(H, W)``, true where the figure is. Some ground must be 70 pixels away from it.

    Returns:
        The ratio for the band with the largest difference.
    """
    distance = ndimage.distance_transform_edt(~figure)
    inside = np.zeros_like(figure)
    inside[_BORDER:-_BORDER, _BORDER:-_BORDER] = True
    far = inside & (distance >= _FAR)
    soft = ndimage.gaussian_filter(result.astype(np.float64), (8, 8, 0))
    spread = float(np.sqrt(soft[far].var(axis=0).sum()))
    change = result.astype(np.float64) - photo
    usual = change[far].mean(axis=0)
    steps = []
    for low, high in _BANDS:
        band = inside & (distance >= low) & (distance < high)
        steps.append(float(np.linalg.norm(change[band].mean(axis=0) - usual)))
    return max(steps) / (_FLOOR + spread)
