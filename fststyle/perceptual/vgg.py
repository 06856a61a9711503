"""VGG features, on which the perceptual loss is computed.

Source: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
Recognition" (2014). The original weights (Visual Geometry Group, CC BY 4.0) were trained
in Caffe on BGR pixels in 0 to 255 with the mean subtracted; only this module knows that.
Everyone else gives RGB in [0, 1] and gets exactly the original network's activations.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fststyle.errors import SettingError
from fststyle.perceptual.layers import Architecture, canonical_layer, layer_names

Features = dict[str, Tensor]
"""Layer name (``relu3_3``) → activations ``(N, C, h, w)`` after the ReLU."""


@dataclass(frozen=True, eq=False)
class VGGWeights:
    """The convolutions of one VGG, in this module's convention.

    Attributes:
        architecture: Which VGG.
        convolutions: Layer name → (kernel ``(O, I, 3, 3)``, bias ``(O,)``), float32; the
            first kernel takes RGB in [0, 1] with `mean` subtracted.
        mean: What to subtract from RGB in [0, 1].
        source: Where the weights come from, for logs and reports.
        original: Whether they are the original (Caffe) weights. Losses of different
            weights do not compare.
    """

    architecture: Architecture
    convolutions: dict[str, tuple[Tensor, Tensor]]
    mean: tuple[float, float, float]
    source: str
    original: bool


class VGG16Features(nn.Module):
    """Frozen VGG16 that returns the activations of the layers asked for.

    It computes no deeper than it must. With VGG19's weights it is VGG19.

    Args:
        layers: ReLU layers by name (``relu3_3`` or ``block3_conv3``).
        weights: The network's weights.

    Raises:
        SettingError: No layer is named, or one that the network does not have.
    """

    mean: Tensor

    def __init__(self, layers: Iterable[str], weights: VGGWeights) -> None:
        super().__init__()
        self.architecture = weights.architecture
        self.source = weights.source
        self.original = weights.original
        wanted = {canonical_layer(name, self.architecture) for name in layers}
        if not wanted:
            raise SettingError("Name at least one VGG layer.")
        names = layer_names(self.architecture)
        self.layers = tuple(name for name in names if name in wanted)
        self.register_buffer(
            "mean", torch.tensor(weights.mean).reshape(1, 3, 1, 1), persistent=False
        )
        self.convolutions = nn.ModuleDict()
        for name in names[: names.index(self.layers[-1]) + 1]:
            kernel, bias = weights.convolutions[name]
            convolution = nn.Conv2d(kernel.shape[1], kernel.shape[0], 3, padding=1, device="meta")
            convolution.weight = nn.Parameter(kernel.clone(), requires_grad=False)
            convolution.bias = nn.Parameter(bias.clone(), requires_grad=False)
            self.convolutions[name] = convolution
        self.to(memory_format=torch.channels_last)

    def forward(self, image: Tensor, layers: Collection[str] | None = None) -> Features:
        """Activations of an image.

        Args:
            image: ``(N, 3, H, W)``, RGB in [0, 1]; H and W large enough for the poolings
                before the deepest layer (16 for relu5_1, 8 for relu4_1, …).
            layers: Which of `self.layers`, by their names there; by default all of them.

        Returns:
            Layer name → ``(N, C, h, w)``, non-negative, in the dtype of the convolutions
            (bfloat16 under such an autocast). Gradients reach the image, never VGG.
        """
        wanted = self.layers if layers is None else tuple(layers)
        features: Features = {}
        hidden = image - self.mean
        block = "1"
        for name, convolution in self.convolutions.items():
            if name[4] != block:
                block = name[4]
                hidden = F.max_pool2d(hidden, 2)
            hidden = F.relu_(convolution(hidden))
            if name in wanted:
                features[name] = hidden
                if len(features) == len(wanted):
                    break
        return features
