"""VGG features, on which the perceptual loss is based.

Source: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
Recognition" (2014). The original weights (Visual Geometry Group, CC BY 4.0) were trained
in Caffe on BGR pixels from 0 to 255 after subtracting the mean. `VGG16Features` accepts RGB in
[0, 1] and returns exactly the activations of the original network.
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
"""Activations ``(N, C, h, w)`` after the ReLU, by layer name (such as ``relu3_3``)."""


@dataclass(frozen=True, eq=False)
class VGGWeights:
    """Convolutions of a VGG network, in the format used by this module.

    Attributes:
        architecture: Architecture of the network, ``"vgg16"`` or ``"vgg19"``.
        convolutions: Kernel ``(O, I, 3, 3)`` and bias ``(O,)`` in float32, by layer name. The
            first kernel expects RGB in [0, 1] with `mean` subtracted.
        mean: Mean colour to subtract, RGB in [0, 1].
        source: Source of the weights, for logs and reports.
        original: ``True`` for the original (Caffe) weights. Losses with different weights are not
            comparable.
    """

    architecture: Architecture
    convolutions: dict[str, tuple[Tensor, Tensor]]
    mean: tuple[float, float, float]
    source: str
    original: bool


class VGG16Features(nn.Module):
    """Frozen VGG16 that returns the activations of the requested layers.

    Layers deeper than these are not computed. Given VGG19 weights, the network is a VGG19.

    Args:
        layers: Names of ReLU layers (``relu3_3`` or ``block3_conv3``).
        weights: Weights of the network.

    Raises:
        SettingError: No layers are given, or the network does not have one of them.
    """

    mean: Tensor

    def __init__(self, layers: Iterable[str], weights: VGGWeights) -> None:
        super().__init__()
        self.architecture = weights.architecture
        self.source = weights.source
        self.original = weights.original
        wanted = {canonical_layer(name, self.architecture) for name in layers}
        if not wanted:
            raise SettingError("Name at least one VGG layer.", code="no_layers")
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
        """Compute the activations for images.

        Args:
            image: Images ``(N, 3, H, W)``, RGB in [0, 1]. H and W must be large enough for the
                pooling before the deepest layer: 16 for relu5_1, 8 for relu4_1, and so on.
            layers: Names from `self.layers`; by default, all of them.

        Returns:
            The non-negative activations ``(N, C, h, w)`` by layer name, in the dtype of the
            convolutions (bfloat16 under bfloat16 autocast). Gradients flow to the image, but not
            to VGG.
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
