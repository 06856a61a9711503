"""Grain, in the network, in style files and in runners."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from dialled import make_dialled_network

from fststyle.errors import SettingError
from fststyle.runtime import runner
from fststyle.runtime.runner import load_runtime
from fststyle.styles.export import export_style
from fststyle.styles.grain import Grain
from fststyle.styles.info import StyleInfo
from fststyle.styles.network import TransformerNet
from fststyle.styles.probe import openvino_runner
from fststyle.styles.shape import NetworkConfig
from fststyle.styles.style_file import load_style, read_style, save_style


def make_network(*, dial: bool = False, grain: float = 8.0) -> TransformerNet:
    dialled = make_dialled_network(2)
    if dial:
        config = replace(dialled.config, grain=grain)
    else:
        config = NetworkConfig(width=4, trunk=8, residual_blocks=1, grain=grain)
    torch.manual_seed(0)
    network = TransformerNet(config).eval()
    if dial:
        network.load_state_dict(dialled.state_dict())
    return network


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "grainy.onnx"
    save_style(make_network(), StyleInfo("grainy"), path)
    return path


def plain(height: int = 40, width: int = 56) -> np.ndarray:
    return np.full((height, width, 3), 0.5, np.float32)


def test_statistics() -> None:
    noise = 255 * Grain(level=4)(600, 700)
    assert noise.std() == pytest.approx(4, rel=0.03)
    assert abs(noise.mean()) < 0.05
    channels = noise.reshape(3, -1)
    assert np.abs(np.corrcoef(channels) - np.eye(3)).max() < 0.03


@pytest.mark.parametrize("shift", [(0, 1), (1, 0), (0, 61), (61, 0), (0, 67), (67, 67), (61, 61)])
def test_no_repetition(shift: tuple[int, int]) -> None:
    noise, moved = (Grain(level=4)(300, 300, origin) for origin in ((0, 0), shift))
    assert abs(np.corrcoef(noise.ravel(), moved.ravel())[0, 1]) < 0.02


def test_parts_equal_the_whole() -> None:
    whole = Grain(level=4, seed=3)(200, 150)
    part = Grain(level=4, seed=3)(70, 60, (110, 80))
    np.testing.assert_array_equal(part, whole[:, 110:180, 80:140])


def test_seeds_differ() -> None:
    first, second = (Grain(level=4, seed=seed)(100, 100) for seed in (0, 1))
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.02


def test_plain_photos_are_painted() -> None:
    grainy, smooth = make_network(), make_network(grain=0)
    photo = torch.full((1, 3, 64, 64), 0.5)
    with torch.inference_mode():
        for channel in smooth(photo)[0]:
            assert channel.std() < 1e-3
        for channel in grainy(photo)[0]:
            assert channel.std() > 0.01


@pytest.mark.parametrize("dial", [False, True], ids=["plain", "dial"])
def test_file_round_trip(dial: bool, tmp_path: Path) -> None:
    network = make_network(dial=dial)
    save_style(network, StyleInfo("grainy"), tmp_path / "a.onnx")
    loaded, info = load_style(tmp_path / "a.onnx")
    assert loaded.config == network.config
    assert loaded.config.format_version == 2
    assert info.name == "grainy"


@pytest.mark.parametrize("dial", [False, True], ids=["plain", "dial"])
@pytest.mark.parametrize("size", [(40, 56), (61, 134), (200, 70)])
def test_file_and_runner_agree(dial: bool, size: tuple[int, int], tmp_path: Path) -> None:
    network = make_network(dial=dial)
    save_style(network, StyleInfo("grainy"), tmp_path / "a.onnx")
    photo = np.random.default_rng(0).random((*size, 3), np.float32)
    batch = photo.transpose(2, 0, 1)[np.newaxis].copy()
    expected = openvino_runner((tmp_path / "a.onnx").read_bytes())(batch)[0].transpose(1, 2, 0)
    with torch.inference_mode():
        from_torch = network(torch.from_numpy(batch))[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(from_torch, expected, atol=0.5 / 255)
    result = load_runtime(tmp_path / "a.onnx", device="cpu")(photo)
    assert np.abs(result - expected).mean() < 1.5 / 255  # the runner may compute in bfloat16


def test_tiles_equal_the_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo = np.random.default_rng(0).random((90, 120, 3), np.float32)
    style = load_runtime(path, device="cpu")
    whole, tiled = style(photo), style(photo, tile=40)
    assert np.abs(whole - tiled).mean() < 1 / 255
    monkeypatch.setattr(runner, "to_batch", lambda pixels, grain: pytest.fail("not tiled"))
    np.testing.assert_array_equal(style(photo, tile=40), tiled)


def test_warm_start_may_change_the_grain(path: Path) -> None:
    from fststyle.training.warm_start import network_from

    config = replace(read_style(path).network, grain=0.0)
    network, _ = network_from(path, config)
    assert network.config == config


@pytest.mark.parametrize("opset", [13, None])
def test_export_contains_the_grain(opset: int | None, path: Path, tmp_path: Path) -> None:
    export_style(path, tmp_path / "b.onnx", opset=opset)
    run = openvino_runner((tmp_path / "b.onnx").read_bytes())
    result = run(plain().transpose(2, 0, 1)[np.newaxis].copy())
    assert result[0].std(axis=(1, 2)).min() > 0.01


@pytest.mark.parametrize("level", [-1, 33, float("nan"), "4", True])
def test_level_out_of_range(level: float) -> None:
    with pytest.raises(SettingError, match=r"network\.grain"):
        NetworkConfig(grain=level)
