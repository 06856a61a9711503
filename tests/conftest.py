from __future__ import annotations

from pathlib import Path

import pytest
import torch

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
