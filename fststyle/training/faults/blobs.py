"""Blobs: isolated flat patches of an unrelated colour, an artefact of instance norm."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fststyle.training.faults.pixels import Pixels, distance


def blobs(photo: Pixels, result: Pixels) -> float:
    """Measure the most visible isolated patch of flat colour.

    A patch is a compact area of almost one colour, from about 10 pixels across to 4 % of the image.
    Its value is the distance of its colour from the colours around it, or from the colours of the
    result in similar parts of the photo, whichever is smaller. (Black patches in dark parts of the
    photo therefore belong to the style.) Differences in the photo itself are subtracted.

    Args:
        photo: Photo ``(H, W, 3)``, RGB in [0, 1].
        result: Stylised photo ``(H, W, 3)``, RGB in [0, 1].

    Returns:
        The difference in colour, at most √3.
    """
    labels, _ = ndimage.label(_local_deviation(result, 3) < 0.04)
    areas = np.bincount(labels.ravel())
    softened = ndimage.gaussian_filter(photo, (2, 2, 0))
    sample = slice(None, None, max(1, round(math.sqrt(labels.size) / 400)))  # for speed
    sampled, colours = softened[sample, sample], result[sample, sample]
    worst = 0.0
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if not 24 <= areas[label] <= 0.04 * labels.size:
            continue
        rows, columns = (slice(max(0, side.start - 10), side.stop + 10) for side in box)
        core = labels[rows, columns] == label
        extent = (box[0].stop - box[0].start) * (box[1].stop - box[1].start)
        if areas[label] < 0.3 * extent:  # a line or a frame, not a blob
            continue
        patch = ndimage.binary_dilation(core, iterations=4)
        around = ndimage.binary_dilation(patch, iterations=6) & ~patch
        near, own_near = result[rows, columns], softened[rows, columns]
        colour = np.median(near[core], axis=0)
        contrast = float(distance(np.median(near[around], axis=0), colour))
        if contrast <= worst:
            continue
        own = np.median(own_near[core], axis=0)
        unlike = distance(sampled, own)
        hidden = np.zeros(labels.shape, bool)
        hidden[rows, columns] = patch
        unlike[hidden[sample, sample]] = np.inf
        alike = unlike <= max(0.06, float(np.quantile(unlike, 0.05)))
        usual = float(np.quantile(distance(colours[alike], colour), 0.02))
        explained = max(
            float(distance(np.median(own_near[around], axis=0), own)),
            float(np.median(unlike[alike])),
        )
        worst = max(worst, min(contrast, usual) - 1.5 * explained)
    return worst


def _local_deviation(result: Pixels, side: int) -> NDArray[np.float64]:
    """Return the standard deviation around each pixel, of the channel where it is largest."""
    pixels = result.astype(np.float64)
    mean = ndimage.uniform_filter(pixels, (side, side, 0))
    square = ndimage.uniform_filter(pixels**2, (side, side, 0))
    return np.asarray(np.sqrt(np.maximum(square - mean**2, 0)).max(axis=2))
