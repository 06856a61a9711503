"""A loss for the arrangement of motifs, which prevents regular patterns.

A Gram matrix does not depend on where features are, so rows of dots can have the same Gram matrix
as an irregular pattern. Their covariances with the features some pixels away are different.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn

from fststyle.perceptual.vgg import Features

ARRANGED: Final = {"relu2_2": (4, 5), "relu3_3": (2, 3, 4)}
"""Distances for each layer, in rows and columns of its features. They are 8 to 16 pixels."""


class ArrangementLoss(nn.Module):
    """Difference between the arrangements of motifs in an image and in the style.

    Source: Berger, Memisevic, "Incorporating Long-Range Consistency in CNN-Based Texture
    Generation" (ICLR 2017). There, features are not centred, and their means dominate.

    Args:
        styles: Features of the style image in one or several sizes. They contain the layers of
            `ARRANGED`, and each layer has the shape ``(1, C, h, w)``.
    """

    def __init__(self, styles: Sequence[Features]) -> None:
        super().__init__()
        for layer, distances in ARRANGED.items():
            for distance in (0, *distances):
                found = [shifted_covariances(style[layer], distance) for style in styles]
                mean = torch.stack(found).mean(dim=0)
                self.register_buffer(f"{layer}_{distance}", mean, persistent=False)

    def forward(self, features: Features) -> Tensor:
        """Compute the loss of each image.

        Args:
            features: Features of images, with the same layers. The images must be larger than the
                distances.

        Returns:
            ``(N,)``: the mean over layers, distances and directions of the squared difference of
            the covariances, relative to the style's covariances at distance 0.
        """
        losses = []
        for layer, distances in ARRANGED.items():
            energy = self.get_buffer(f"{layer}_0").square().mean()
            for distance in distances:
                target = self.get_buffer(f"{layer}_{distance}")
                error = shifted_covariances(features[layer], distance) - target
                losses.append(error.square().mean(dim=(1, 2, 3)) / energy)
        return torch.stack(losses).mean(dim=0)


def shifted_covariances(features: Tensor, distance: int) -> Tensor:
    """Compute the covariances between features and the features at a distance.

    Args:
        features: Features ``(N, C, h, w)``, with h and w greater than ``distance``.
        distance: Number of rows, and number of columns, to the other features.

    Returns:
        Covariances ``(N, 2, C, C)``: with the features below, and with those to the right.
    """
    height, width = features.shape[2] - distance, features.shape[3] - distance
    pairs = (
        (features[:, :, :height], features[:, :, distance:]),
        (features[:, :, :, :width], features[:, :, :, distance:]),
    )
    return torch.stack([_covariance(*pair) for pair in pairs], dim=1)


def _covariance(first: Tensor, second: Tensor) -> Tensor:
    first, second = (f.flatten(2) - f.mean(dim=(2, 3))[:, :, None] for f in (first, second))
    return first @ second.transpose(1, 2) / first.shape[2]
