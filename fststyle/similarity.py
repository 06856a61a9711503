"""How alike two pictures are."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

Pixels = NDArray[np.float32]


def ssim(picture: Pixels, photo: Pixels) -> float:
    """Structural similarity (Wang et al. 2004, Gaussian window) of two RGB images in [0, 1].

    NaN where a side is shorter than the window, 11 pixels.
    """
    if min(photo.shape[:2]) < 11:
        return math.nan
    return float(
        structural_similarity(  # type: ignore[no-untyped-call]
            picture, photo, channel_axis=2, data_range=1.0, gaussian_weights=True,
            sigma=1.5, use_sample_covariance=False,
        )
    )  # fmt: skip


def psnr(picture: Pixels, photo: Pixels) -> float:
    """Peak signal-to-noise ratio in dB of two images in [0, 1]; infinite if they are equal."""
    error = float(np.mean(np.square(picture.astype(np.float64) - photo)))
    return -10 * math.log10(error) if error > 0 else math.inf
