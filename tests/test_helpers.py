from __future__ import annotations

from pathlib import Path

import torch
from imports_help import packages_needed

from fststyle.styles.network import TransformerNet
from fststyle.styles.style_file import load_style

TESTS = Path(__file__).parent


def test_stored_style_is_that_of_the_small_network(
    style_path: Path, small_network: TransformerNet
) -> None:
    stored, info = load_style(style_path)
    assert (info.name, info.title) == ("small", "A small one")
    assert stored.config == small_network.config
    expected = small_network.state_dict()
    for name, tensor in stored.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], atol=1e-3, rtol=1e-3)


def test_packages_needed() -> None:
    assert "torch" in packages_needed(TESTS / "helpers" / "networks.py")
    assert "torch" in packages_needed(Path(__file__))
    assert not {"torch", "fststyle"} & packages_needed(TESTS / "cli" / "test_stylize.py")
