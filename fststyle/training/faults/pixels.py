"""Colours and gradients that several measures of faults need."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Pixels = NDArray[np.float32]


def distance(colours: NDArray[Any], colour: NDArray[Any]) -> Any:
    """Return the Euclidean distances of colours ``(…, 3)`` from a colour."""
    return np.sqrt(np.square(colours - colour).sum(axis=-1))


def gradient(pixels: Pixels, sigma: float) -> NDArray[np.complex128]:
    """Return the gradient of the blurred luminance, ``(H, W)``, as complex numbers."""
    luminance = pixels.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    down, across = np.gradient(ndimage.gaussian_filter(luminance, sigma))
    return np.asarray(across + 1j * down)
