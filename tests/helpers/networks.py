"""Small networks with fixed weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor

from fststyle.styles import style_file
from fststyle.styles.info import StyleInfo
from fststyle.styles.network import TransformerNet
from fststyle.styles.shape import NetworkConfig
from fststyle.styles.style_file import save_style

# By their first strides, which decide the layers. No two layers have equal shapes by chance.
SMALL_CONFIGS = {
    stride: NetworkConfig(first_stride=stride, width=4, trunk=12, residual_blocks=1)
    for stride in (1, 2)
}
# What is imported from other programs.
LINEAR_CONFIG = replace(SMALL_CONFIGS[1], linear_output=1)


def make_small_network(config: NetworkConfig) -> TransformerNet:
    """Make a network whose weights all differ. They are always the same."""
    network = TransformerNet(config).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            is_gain = parameter.ndim == 1 and name.endswith("weight")
            fan_in = parameter[0].numel()
            parameter.copy_(noise / fan_in**0.5 if not is_gain else 1 + 0.2 * noise)
        if config.linear_output:  # around grey and as steep as the sigmoid
            assert network.to_rgb.bias is not None
            network.to_rgb.weight.mul_(0.25)
            network.to_rgb.bias.mul_(0.25).add_(0.5)
    return network


def save_small_style(network: TransformerNet, folder: Path) -> Path:
    path = folder / "small.onnx"
    save_style(network, StyleInfo("small", title="A small one"), path)
    return path


def overflowing_style(source: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy a style file with weights that overflow, which only these tests can load."""
    model = onnx.ModelProto.FromString(source.read_bytes())
    tensor = next(t for t in model.graph.initializer if t.name == "residual.0.body.2.weight")
    array = numpy_helper.to_array(tensor) * np.float32(1e38)
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    path = folder / "overflow.onnx"
    path.write_bytes(model.SerializeToString())
    monkeypatch.setattr(style_file, "overflows", lambda *_: False)
    return path


Weights = dict[str, Tensor]


def random_weights(kind: str, width: int = 32, trunk: int = 128, blocks: int = 5) -> Weights:
    """Use the original names. Biases before norms are large, so that they would show."""
    generator = torch.Generator().manual_seed(3)
    weights: Weights = {}

    def convolution(name: str, inputs: int, outputs: int, side: int) -> None:
        kernel = torch.randn(outputs, inputs, side, side, generator=generator)
        weights[f"{name}.weight"] = kernel / (inputs * side * side) ** 0.5
        weights[f"{name}.bias"] = torch.randn(outputs, generator=generator)

    def norm(name: str, channels: int) -> None:
        weights[f"{name}.weight"] = 1 + 0.2 * torch.randn(channels, generator=generator)
        weights[f"{name}.bias"] = 0.3 * torch.randn(channels, generator=generator)

    first, second, last = GROW[kind]
    sizes = [3, width, 2 * width, trunk]
    for number in (1, 2, 3):
        convolution(
            f"conv{number}.conv2d", sizes[number - 1], sizes[number], 9 if number == 1 else 3
        )
        norm(f"in{number}", sizes[number])
    for block in range(1, blocks + 1):
        for number in (1, 2):
            convolution(f"res{block}.conv{number}.conv2d", trunk, trunk, 3)
            norm(f"res{block}.in{number}", trunk)
    convolution(first, trunk, 2 * width, 3)
    norm("in4", 2 * width)
    convolution(second, 2 * width, width, 3)
    norm("in5", width)
    convolution(last, width, 3, 9)
    if kind == "pytorch":  # pixels are 0 to 255
        weights[f"{last}.weight"] *= 40
        weights[f"{last}.bias"] += 120
    return weights


GROW = {
    "pytorch": ("deconv1.conv2d", "deconv2.conv2d", "deconv3.conv2d"),
    "gordicaleksa": ("up1.conv2d.conv2d", "up2.conv2d.conv2d", "up3.conv2d"),
}
