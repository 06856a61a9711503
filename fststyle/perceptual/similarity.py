"""Measures of similarity between two images."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

Pixels = NDArray[np.float32]

_PATCH: Final = 7  # side in pixels


def ssim(picture: Pixels, photo: Pixels) -> float:
    """Compute the structural similarity (Wang et al. 2004) of two RGB images in [0, 1].

    The result is NaN if a side is shorter than the Gaussian window of 11 pixels.
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
    """Compute the peak signal-to-noise ratio in dB of two images in [0, 1].

    The result is infinite if the images are equal.
    """
    error = float(np.mean(np.square(picture.astype(np.float64) - photo)))
    return -10 * math.log10(error) if error > 0 else math.inf


def patch_distance(picture: Pixels, style: Pixels, *, levels: int = 4, seed: int = 0) -> float:
    """Measure the difference between the textures of two images, regardless of position.

    This is the sliced Wasserstein distance (Rabin et al. 2011) between 7×7 patches, which Karras
    et al. (2018, section 5) use to compare sets of images. From each image, 4096 random patches
    are projected onto 256 random unit vectors. The order-1 distance between the sorted projections
    is averaged over the vectors, then over the levels of a pyramid, each half the size of the
    previous level. Karras et al. use a Laplacian pyramid and normalise the colours; this function
    does neither, so differences in colour count.

    Args:
        picture: First image ``(H, W, 3)``, RGB in [0, 1].
        style: Second image ``(h, w, 3)``, RGB in [0, 1]. The sizes may differ.
        levels: Number of pyramid levels; levels smaller than a patch are skipped.
        seed: Random seed for the positions and directions.

    Returns:
        The distance in units of 1/255. It is symmetric, 0 for equal images, and NaN if an image is
        smaller than a patch. For two single-colour images that differ by c in all channels, it is
        about 255·c·√(2/π), where √(2/π) is the mean of |Σd| over random directions d.
    """
    distances = []
    for level in range(levels):
        if min(*picture.shape[:2], *style.shape[:2]) < _PATCH:
            break
        directions = np.random.default_rng((seed, 0, level)).standard_normal((3 * _PATCH**2, 256))
        directions /= np.linalg.norm(directions, axis=0)
        one, other = (
            np.sort(_patches(pixels, np.random.default_rng((seed, 1, level))) @ directions, axis=0)
            for pixels in (picture, style)
        )
        distances.append(255 * float(np.abs(one - other).mean()))
        picture, style = _halved(picture), _halved(style)
    return float(np.mean(distances)) if distances else math.nan


def _patches(pixels: Pixels, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return patches at 4096 random positions, ``(4096, 3 · 7 · 7)``."""
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (_PATCH, _PATCH), axis=(0, 1))
    rows, columns = (rng.integers(size, size=4096) for size in windows.shape[:2])
    return windows[rows, columns].reshape(4096, -1).astype(np.float64)


def _halved(pixels: Pixels) -> Pixels:
    """Average blocks of 2×2 pixels; an odd last row or column is dropped."""
    height, width = (side // 2 for side in pixels.shape[:2])
    blocks = pixels[: 2 * height, : 2 * width].reshape(height, 2, width, 2, 3)
    halved: Pixels = blocks.mean(axis=(1, 3))
    return halved
