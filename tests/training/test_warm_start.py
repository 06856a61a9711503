from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from errors_help import raises

from fststyle.errors import NoNetworkError, StyleError
from fststyle.perceptual.losses import PerceptualLoss
from fststyle.perceptual.presets import loss_config
from fststyle.perceptual.vgg import VGGWeights
from fststyle.styles import find
from fststyle.styles.info import StyleInfo
from fststyle.styles.network import TransformerNet
from fststyle.styles.shape import NetworkConfig
from fststyle.styles.style_file import save_style
from fststyle.training import warm_start as warmstart
from fststyle.training.warm_start import check_start, starting_network

CONFIG = NetworkConfig(width=4, trunk=8, residual_blocks=1)
PHOTOS = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def loss(narrow_weights: VGGWeights) -> PerceptualLoss:
    """Its style is a dark picture."""
    picture = 0.2 * np.random.default_rng(0).random((64, 64, 3), dtype=np.float32)
    config = loss_config(style_sizes=(64,), normalised_layers=())
    return PerceptualLoss.from_picture(config, narrow_weights, picture)


def network(brightness: float, config: NetworkConfig = CONFIG) -> TransformerNet:
    """A network whose pictures are dark or bright."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = TransformerNet(config)
    assert net.to_rgb.bias is not None
    with torch.no_grad():
        net.to_rgb.bias.fill_(brightness)
    return net.eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("networks")
    save_style(network(3.0), StyleInfo("bright"), path / "bright.onnx")
    save_style(network(-2.0), StyleInfo("dark", style_image_sha256="d" * 64), path / "dark.onnx")
    save_style(network(-1.0), StyleInfo("dusk"), path / "dusk.onnx")
    other = NetworkConfig(width=2, trunk=4, residual_blocks=0)
    save_style(network(-2.0, other), StyleInfo("small"), path / "small.onnx")
    return path


def start(init: str | None, loss: PerceptualLoss, sha256: str = "") -> str | None:
    found = starting_network(init, CONFIG, loss, PHOTOS, sha256)
    return None if found is None else found[1]


@pytest.mark.parametrize("init", [None, "none"])
def test_random_weights(init: str | None, loss: PerceptualLoss) -> None:
    assert start(init, loss) is None


def test_the_nearest_of_a_folder(folder: Path, loss: PerceptualLoss) -> None:
    assert start(str(folder), loss) == "dark"
    found = starting_network(str(folder), CONFIG, loss, PHOTOS, "")
    assert found is not None
    # Kernels are stored as float16.
    torch.testing.assert_close(found[0](PHOTOS), network(-2.0)(PHOTOS), atol=1 / 255, rtol=0)


def test_not_from_a_network_of_the_same_picture(folder: Path, loss: PerceptualLoss) -> None:
    assert start(str(folder), loss, sha256="d" * 64) == "dusk"


def test_a_broken_file_is_no_candidate(
    folder: Path, loss: PerceptualLoss, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no network")
    assert start(str(tmp_path), loss) is None
    assert "Cannot start from broken.onnx" in caplog.text
    (tmp_path / "dusk.onnx").write_bytes((folder / "dusk.onnx").read_bytes())
    assert start(str(tmp_path), loss) == "dusk"


def test_the_nearest_of_those_shipped(
    folder: Path, loss: PerceptualLoss, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warmstart, "zoo_folder", lambda: folder)
    assert start("nearest", loss) == "dark"


def test_a_file(folder: Path, loss: PerceptualLoss) -> None:
    assert start(str(folder / "bright.onnx"), loss) == "bright"
    with raises(StyleError, "other_shape", "network.width=2 network.trunk=4"):
        start(str(folder / "small.onnx"), loss)


def test_what_cannot_be_started_from(
    loss: PerceptualLoss, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr(find, "zoo_folder", lambda: tmp_path)
    with raises(NoNetworkError, "no_network", "ink_wash"):
        start("ink_wash", loss)
    with raises(NoNetworkError, "no_network", "ink_wash"):
        check_start("ink_wash")
    with raises(StyleError, "unknown_style", "nearst"):
        start("nearst", loss)


def test_global_random_state_stays(folder: Path, loss: PerceptualLoss) -> None:
    before = torch.random.get_rng_state()
    start(str(folder), loss)
    assert torch.equal(torch.random.get_rng_state(), before)
