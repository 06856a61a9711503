"""The palette: the distribution of an image's colours, regardless of their positions.

Gram matrices say which activations occur together, and leave much freedom as to the colours
themselves: purple with lime can have (nearly) the Gram matrices of purple with gold. The sliced
Wasserstein distance between the two distributions of colours has no such freedom, and costs a
few sorted lists.

Sources: Rabin, Peyré, Delon, Bernot, "Wasserstein Barycenter and its Application to Texture
Mixing" (SSVM 2011), equation 4; Heitz, Vanhoey, Chambon, Belcour, "A Sliced Wasserstein Loss for
Neural Texture Synthesis" (CVPR 2021), equation 5. They draw directions at random; here they are
fixed, so that a loss is a function.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

DIRECTIONS: Final = 16
"""Directions in RGB on which colours are projected."""

QUANTILES: Final = 2048
"""Points at which a style's distribution along a direction is kept."""

_BLOCK: Final = 4  # in pixels: colours are averaged over blocks, outlines and grain left aside


def palette_quantiles(style: Tensor | Sequence[Tensor]) -> Tensor:
    """Return the palette of a style image, for `palette_distance`.

    Args:
        style: ``(1, 3, h, w)``, RGB in [0, 1], or several of them, whose quantiles are averaged.

    Returns:
        ``(QUANTILES, DIRECTIONS)``: per direction, the quantiles of the projected colours.
    """
    pictures = [style] if isinstance(style, Tensor) else list(style)
    return torch.stack([_at(_projected(picture), QUANTILES)[0] for picture in pictures]).mean(0)


def palette_distance(image: Tensor, quantiles: Tensor) -> Tensor:
    """Squared sliced Wasserstein-2 distance of images' colours from a palette, relative to it.

    The mean, over directions and quantiles, of the squared difference of the sorted
    projections, divided by the palette's own variance: 1 is as far as from its mean colour.

    Args:
        image: ``(N, 3, H, W)``, RGB in [0, 1].
        quantiles: What `palette_quantiles` gave.

    Returns:
        ``(N,)``, dimensionless.
    """
    sorted_colours = _projected(image)
    target = _at(quantiles.to(sorted_colours)[None], sorted_colours.shape[1])
    variance = quantiles.var(dim=0, unbiased=False).mean().clamp_min(_LEAST_VARIANCE)
    return (sorted_colours - target).square().mean(dim=(1, 2)) / variance


_LEAST_VARIANCE: Final = (4 / 255) ** 2  # of a style of (nearly) one colour


def _projected(image: Tensor) -> Tensor:
    """Colours of blocks, projected on the directions and sorted: ``(N, pixels, DIRECTIONS)``."""
    blocks = F.avg_pool2d(image, _BLOCK, ceil_mode=True)
    colours = blocks.flatten(2).transpose(1, 2)
    return (colours @ _directions().to(colours)).sort(dim=1).values


def _at(sorted_values: Tensor, count: int) -> Tensor:
    """The quantiles at ``count`` evenly spaced levels: ``(N, n, D)`` → ``(N, count, D)``."""
    if sorted_values.shape[1] == count:
        return sorted_values
    resized = F.interpolate(
        sorted_values.transpose(1, 2), size=count, mode="linear", align_corners=False
    )
    return resized.transpose(1, 2)


def _directions() -> Tensor:
    """``(3, DIRECTIONS)``: unit vectors spread evenly over half the sphere (Fibonacci lattice)."""
    index = torch.arange(DIRECTIONS, dtype=torch.float64)
    height = (index + 0.5) / DIRECTIONS  # a direction and its opposite sort alike
    angle = index * math.pi * (3 - math.sqrt(5))
    radius = (1 - height.square()).sqrt()
    return torch.stack([radius * angle.cos(), radius * angle.sin(), height])
