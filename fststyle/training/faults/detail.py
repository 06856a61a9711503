"""Lost detail: the loss of the photo's coarse structure, and of sharpness."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fststyle.training.faults.pixels import Pixels, gradient


def lost_structure(photo: Pixels, result: Pixels) -> float:
    """Measure the loss of the photo's coarse structure.

    The gradients of the luminance, blurred with σ = 3, are compared without their sign, because a
    style may swap dark and bright: as vectors ``|g|·(cos 2θ, sin 2θ)``, by their correlation.

    Args:
        photo: Photo ``(H, W, 3)``, RGB in [0, 1].
        result: Stylised photo ``(H, W, 3)``, RGB in [0, 1].

    Returns:
        One minus the correlation: 0 for the photo itself, 1 if nothing of it is left.
    """
    a, b = (_lines(pixels) for pixels in (photo, result))
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    if not size > 1e-6 * a.size:
        return math.nan if not math.isfinite(size) else 1.0
    return 1 - float(np.vdot(a, b).real) / size


def blur(photo: Pixels, result: Pixels) -> float:
    """Measure how much softer the result is than the photo.

    Sharpness is the ratio of the mean gradients of the luminance at σ = 0.7 and at σ = 3. It does
    not depend on contrast, and falls if the image is blurred.

    Args:
        photo: Photo ``(H, W, 3)``, RGB in [0, 1].
        result: Stylised photo ``(H, W, 3)``, RGB in [0, 1].

    Returns:
        Sharpness of the photo divided by that of the result; 1 for the photo itself.
    """
    sharpness = []
    for pixels in (photo, result):
        fine, coarse = (np.abs(gradient(pixels, sigma)).mean() for sigma in (0.7, 3.0))
        sharpness.append(float(fine) / max(float(coarse), 1e-4))
    return sharpness[0] / max(sharpness[1], 1e-3)


def _lines(pixels: Pixels) -> NDArray[np.complex128]:
    slope = gradient(pixels, 3.0)
    return slope**2 / np.maximum(np.abs(slope), 1e-9)
