"""Detecting cuts between scenes by comparing the colour histograms of successive frames."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

_CUT: Final = 0.35
"""Share of the histograms that must change between frames for a cut to be detected."""


_CELLS: Final = 3


_BINS: Final = 8


_SAMPLES: Final = 96


Histograms = NDArray[np.float32]
"""Array ``(cells, 3, bins)``. The bins of each cell and channel add up to 1."""


def histograms_of(pixels: NDArray[np.uint8]) -> Histograms:
    """Compute a histogram of each channel in each cell of a grid, from a sample of the pixels.

    Args:
        pixels: Frame ``(H, W, 3)``.
    """
    height, width = pixels.shape[:2]
    sample = pixels[:: max(1, height // _SAMPLES), :: max(1, width // _SAMPLES)]
    levels = sample.astype(np.int64) * _BINS // 256
    rows, columns = (np.arange(n) * _CELLS // n for n in sample.shape[:2])
    cell = rows[:, np.newaxis] * _CELLS + columns
    places = (cell[..., np.newaxis] * 3 + np.arange(3)) * _BINS + levels
    counts = np.bincount(places.ravel(), minlength=_CELLS**2 * 3 * _BINS)
    histograms = counts.reshape(_CELLS**2, 3, _BINS).astype(np.float32)
    result: Histograms = histograms / np.maximum(histograms.sum(axis=2, keepdims=True), 1)
    return result


def is_cut(before: Histograms, after: Histograms) -> bool:
    """Return whether there is a cut between two successive frames."""
    return bool(np.abs(after - before).sum(axis=2).mean() / 2 > _CUT)
