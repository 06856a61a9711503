"""Frame: a border that differs from the rest of the result, an artefact of padding."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fststyle.training.faults.pixels import Pixels, distance, gradient


def frame(photo: Pixels, result: Pixels) -> float:
    """Measure how much the outermost pixels differ from the rest, on at least two sides.

    The outermost 4 (and 8) pixels of a side are compared with the next ones, by mean colour and
    by mean gradient. The same difference in the photo is subtracted. The rest is divided by the
    90 % quantile of the differences between neighbouring bands inside the result.

    Args:
        photo: Photo ``(H, W, 3)``, RGB in [0, 1].
        result: Stylised photo ``(H, W, 3)``, RGB in [0, 1].

    Returns:
        The ratio for the second worst side.
    """
    sides = []
    for turns in range(4):
        pair = [np.rot90(pixels, turns) for pixels in (photo, result)]
        values = []
        for width in (4, 8):
            colour = [_steps_between_bands(pixels, width) for pixels in pair]
            reliefs = [np.abs(gradient(pixels, 0.7))[..., None] for pixels in pair]
            relief = [_steps_between_bands(pixels, width) for pixels in reliefs]
            for steps, least in ((colour, 0.03), (relief, 0.02)):
                usual = float(np.quantile(steps[1][1:], 0.9))
                values.append((steps[1][0] - steps[0][0]) / (usual + least))
        sides.append(max(values))
    return max(0.0, float(sorted(sides)[-2]))


def _steps_between_bands(pixels: NDArray[Any], width: int) -> NDArray[np.float64]:
    """Return the distances between the mean colours of neighbouring bands, from the top."""
    count = max(3, len(pixels) // width)
    split = np.array_split(pixels[: count * width].astype(np.float64), count)
    bands = np.stack([band.mean(axis=(0, 1)) for band in split])
    return np.asarray(distance(bands[1:], bands[:-1]))
