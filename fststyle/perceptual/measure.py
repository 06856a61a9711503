"""The fixed measure for comparing networks, regardless of the loss used to train them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fststyle.errors import SettingError
from fststyle.perceptual.losses import PerceptualLoss
from fststyle.perceptual.presets import LossConfig
from fststyle.perceptual.vgg import VGGWeights

MEASURE: Final = LossConfig(
    content_layers={"relu4_2": 1.0},
    style_layers={"relu1_2": 1.5, "relu2_2": 1.5, "relu3_3": 1.0, "relu4_3": 2.0},
    content_weight=1.0,
    style_weight=0.5,
    palette_weight=0.5,
    tv_weight=0.3,
    style_sizes=(384,),
    normalised_layers=("relu3_3", "relu4_2", "relu4_3"),
    content_form="relative",
    style_form="relative",
    gram_divisor="hw",
    tv_form="mean_squares",
    pixel_range=1,
)
"""The fixed measure, a copy of the first calibrated loss. It must never change."""


def measure_for(picture: NDArray[np.float32], weights: VGGWeights) -> PerceptualLoss:
    """Make the fixed measure for a style.

    Args:
        picture: Style image ``(h, w, 3)``, RGB in [0, 1].
        weights: Weights of the original VGG16.

    Returns:
        The measure as a loss.

    Raises:
        SettingError: The weights are not those of the original VGG16, or the style image is too
            small.
    """
    if not weights.original:
        raise SettingError(
            f"A style is measured with the original VGG16, but {weights.source} has other weights.",
            remedy="Give the weights of the original VGG16, or no weights.",
            code="other_weights",
        )
    return PerceptualLoss.from_picture(MEASURE, weights, picture)


@dataclass(frozen=True)
class Losses:
    """Losses of an image under the fixed measure.

    Attributes:
        total: Weighted sum of all terms, which L-BFGS minimises.
        content: Unweighted relative loss of each content layer, by layer name.
        style: Unweighted relative loss of each style layer, by layer name.
        palette: Unweighted distance between the palettes of the image and the style.
        tv: Unweighted mean squared difference between neighbouring pixels.
    """

    total: float
    content: dict[str, float]
    style: dict[str, float]
    palette: float
    tv: float

    def style_term(self) -> float:
        """Return the relative style loss, averaged using the measure's layer weights."""
        weights = MEASURE.style_layers
        return sum(weights[k] * v for k, v in self.style.items()) / sum(weights.values())


def losses_of(measure: PerceptualLoss, image: Tensor, targets: dict[str, Tensor]) -> Losses:
    """Measure the losses of an image.

    Args:
        measure: Result of `measure_for`.
        image: Image ``(1, 3, H, W)``, RGB in [0, 1].
        targets: Result of ``measure.content_targets`` for the photo.

    Returns:
        The losses of the image.
    """
    with torch.no_grad():
        total = float(measure(image, targets).total)
    relative = measure.relative(image, targets)
    return Losses(
        total,
        {layer: float(value[0]) for layer, value in relative.content.items()},
        {layer: float(value[0]) for layer, value in relative.style.items()},
        float(relative.palette[0]),
        float(relative.tv[0]),
    )
