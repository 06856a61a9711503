"""Small networks with a dial or several styles, and their style files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from networks import SMALL_CONFIGS, make_small_network

from fststyle.styles.content import OneStyle
from fststyle.styles.info import StyleInfo
from fststyle.styles.network import TransformerNet
from fststyle.styles.style_file import save_style


def make_dialled_network(
    first_stride: int = 2, *, styles: int = 1, dial: bool = True
) -> TransformerNet:
    """Make a network whose results differ for each style and each position of the dial."""
    config = replace(SMALL_CONFIGS[first_stride], styles=styles, dial=dial)
    network = make_small_network(config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.ndim == 2:
                noise = torch.randn(parameter.shape, generator=generator)
                size = 0.1 if ".dial_" in name else 0.3
                parameter.copy_(size * noise + (name.rpartition(".")[2] == "weight"))
    return network


def save_dialled_style(network: TransformerNet, path: Path, strength: float = 1.0) -> Path:
    """Write a style file with the styles ``style_0``, ``style_1`` and so on."""
    names = [f"style_{number}" for number in range(network.config.styles)]
    save_style(network, [OneStyle(StyleInfo(name), strength) for name in names], path)
    return path
