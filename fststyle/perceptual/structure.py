"""Losses that keep a photo's shapes and leave its colours and textures free.

`self_similarity_loss` compares the relations between the parts of an image, `laplacian_loss` its
edges. Both are relative: a value of 1 means that the image shares nothing with the photo.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

POSITIONS: Final = 1024
"""Maximum number of positions that `self_similarity_loss` compares with one another."""

_SCALES: Final = (2, 4, 8)  # sides of the blocks of `laplacian_loss` in pixels
_LEAST_RELATIONS: Final = 0.004  # a tenth of the usual variance for natural photos
_LEAST_EDGES: Final = 1e-4  # for luma in [0, 1]; photos without any edges


def self_similarity_loss(features: Tensor, target: Tensor) -> Tensor:
    """Compute the difference between the self-similarities of two images.

    The self-similarity of an image is the matrix of the cosine distances between its features at
    all pairs of positions, after subtracting their mean. The loss is the mean squared difference
    of two such matrices, divided by the variance of the photo's.

    Source: Kolkin, Salavon, Shakhnarovich, "Style Transfer by Relaxed Optimal Transport and
    Self-Similarity" (STROTSS, CVPR 2019), equation 8. There, each column of the matrices is
    divided by its sum, the difference is absolute, and the positions are random. Here, features are
    centred, and positions lie on a fixed grid, so that the loss is deterministic.

    The loss cannot tell an image from its negative, so it needs a plain content term as well.

    Args:
        features: Features of the images, ``(N, C, h, w)``.
        target: Features of the photos, with the same shape.

    Returns:
        The loss of each image, ``(N,)``, at least 0.

    Example:
        >>> import torch
        >>> features = torch.rand(2, 8, 6, 6)
        >>> self_similarity_loss(features, features)
        tensor([0., 0.])
    """
    actual, expected = _distances(features), _distances(target)
    variance = expected.var(dim=(1, 2), unbiased=False).clamp_min(_LEAST_RELATIONS)
    return (actual - expected).square().mean(dim=(1, 2)) / variance


def laplacian_loss(image: Tensor, photo: Tensor) -> Tensor:
    """Compute the difference between the edges of two images at several scales.

    The loss is the squared difference between the Laplacians of the images' luma, divided by that
    of the photo's Laplacian, averaged over blocks of 2, 4 and 8 pixels. Blocks that do not fit into
    the image three times are left out.

    Source: Li, Xu, Nie, Chua, "Laplacian-Steered Neural Style Transfer" (ACM Multimedia 2017),
    section 3. There, the three colour channels are compared, over blocks of 4 and 16 pixels, and
    the loss is a plain sum. Only luma is compared here, because the style chooses the colours.

    Args:
        image: Images ``(N, 3, H, W)``, RGB in [0, 1].
        photo: Photos, with the same shape.

    Returns:
        The loss of each image, ``(N,)``, at least 0.

    Example:
        >>> import torch
        >>> photo = torch.rand(1, 3, 32, 32)
        >>> laplacian_loss(photo, photo)
        tensor([0.])
    """
    actual, expected = _luma(image), _luma(photo)
    losses = []
    for scale in _SCALES:
        if min(image.shape[2:]) < 3 * scale:
            break
        error = _laplacian(actual - expected, scale).square().mean(dim=(1, 2, 3))
        edges = _laplacian(expected, scale).square().mean(dim=(1, 2, 3))
        losses.append(error / edges.clamp_min(_LEAST_EDGES))
    return torch.stack(losses).mean(dim=0) if losses else 0 * image.mean(dim=(1, 2, 3))


def windows(features: Tensor) -> Tensor:
    """Divide features into four quarters: ``(N, C, h, w)`` → ``(4·N, C, h // 2, w // 2)``.

    If a side is odd, its last row or column is left out.
    """
    images, channels, height, width = features.shape
    rows, columns = height // 2, width // 2
    even = features[:, :, : 2 * rows, : 2 * columns]
    parts = even.reshape(images, channels, 2, rows, 2, columns).permute(0, 2, 4, 1, 3, 5)
    return parts.reshape(4 * images, channels, rows, columns)


def _distances(features: Tensor) -> Tensor:
    """Return the cosine distances between positions, ``(N, P, P)`` with P ≤ `POSITIONS`."""
    height, width = features.shape[2:]
    step = math.ceil(math.sqrt(height * width / POSITIONS))
    vectors = features[:, :, ::step, ::step].flatten(2).transpose(1, 2)
    centred = F.normalize(vectors - vectors.mean(dim=1, keepdim=True), dim=2)
    return 1 - centred @ centred.transpose(1, 2)


def _luma(image: Tensor) -> Tensor:
    weights = image.new_tensor([0.2126, 0.7152, 0.0722])  # ITU-R BT.709
    return torch.einsum("nchw,c->nhw", image, weights)[:, None]


def _laplacian(luma: Tensor, scale: int) -> Tensor:
    blocks = F.avg_pool2d(luma, scale)
    kernel = luma.new_tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])
    return F.conv2d(blocks, kernel[None, None])
