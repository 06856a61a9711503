"""The palette: the distribution of an image's colours, regardless of their positions.

Gram matrices describe which activations occur together, but hardly constrain the colours: purple
with lime can have almost the same Gram matrices as purple with gold. The sliced Wasserstein
distance between two colour distributions does constrain the colours, and is cheap to compute.

Sources: Rabin, Peyré, Delon, Bernot, "Wasserstein Barycenter and its Application to Texture
Mixing" (SSVM 2011), equation 4; Heitz, Vanhoey, Chambon, Belcour, "A Sliced Wasserstein Loss for
Neural Texture Synthesis" (CVPR 2021), equation 5. Both papers draw random directions. Here, the
directions are fixed, so that the loss is deterministic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

DIRECTIONS: Final = 16
"""Number of directions in RGB space onto which colours are projected."""

QUANTILES: Final = 2048
"""Number of quantiles per direction in a palette."""

_BLOCK: Final = 4  # side in pixels; averaging colours over blocks removes outlines and grain


def palette_quantiles(style: Tensor | Sequence[Tensor]) -> Tensor:
    """Return the palette of a style image, for use with `palette_distance`.

    Args:
        style: Style image ``(1, 3, h, w)``, RGB in [0, 1]. If it is given in several sizes, their
            quantiles are averaged.

    Returns:
        The quantiles of the projected colours, ``(QUANTILES, DIRECTIONS)``.
    """
    images = [style] if isinstance(style, Tensor) else list(style)
    return torch.stack([_at(_projected(image), QUANTILES)[0] for image in images]).mean(0)


def palette_distance(image: Tensor, quantiles: Tensor) -> Tensor:
    """Compute the relative squared sliced Wasserstein-2 distance of images from a palette.

    This is the mean squared difference between the sorted projections, over all directions and
    quantiles, divided by the variance of the palette. An image that only contains the palette's
    mean colour has a distance of 1.

    Args:
        image: Images ``(N, 3, H, W)``, RGB in [0, 1].
        quantiles: Result of `palette_quantiles`.

    Returns:
        The distance for each image, ``(N,)``.
    """
    sorted_colours = _projected(image)
    target = _at(quantiles.to(sorted_colours)[None], sorted_colours.shape[1])
    variance = quantiles.var(dim=0, unbiased=False).mean().clamp_min(_LEAST_VARIANCE)
    return (sorted_colours - target).square().mean(dim=(1, 2)) / variance


_LEAST_VARIANCE: Final = (4 / 255) ** 2  # for style images with almost only one colour


def _projected(image: Tensor) -> Tensor:
    """Return the projected block colours, sorted per direction: ``(N, blocks, DIRECTIONS)``."""
    blocks = F.avg_pool2d(image, _BLOCK, ceil_mode=True)
    colours = blocks.flatten(2).transpose(1, 2)
    return (colours @ _directions().to(colours)).sort(dim=1).values


def _at(sorted_values: Tensor, count: int) -> Tensor:
    """Return quantiles at ``count`` evenly spaced levels: ``(N, n, D)`` → ``(N, count, D)``."""
    if sorted_values.shape[1] == count:
        return sorted_values
    resized = F.interpolate(
        sorted_values.transpose(1, 2), size=count, mode="linear", align_corners=False
    )
    return resized.transpose(1, 2)


def _directions() -> Tensor:
    """Return unit vectors spread evenly over half a sphere (Fibonacci lattice), as columns."""
    index = torch.arange(DIRECTIONS, dtype=torch.float64)
    height = (index + 0.5) / DIRECTIONS  # opposite directions give the same distance
    angle = index * math.pi * (3 - math.sqrt(5))
    radius = (1 - height.square()).sqrt()
    return torch.stack([radius * angle.cos(), radius * angle.sin(), height])
