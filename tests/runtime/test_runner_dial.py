"""Runtimes of styles with a dial. The models themselves are tested in tests/styles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dialled import make_dialled_network, save_dialled_style
from numpy.typing import NDArray

from fststyle.openvino_core import openvino_core
from fststyle.runtime import on_torch, runner, tiling
from fststyle.runtime.runner import Loaded, Runtime, Tiled, load_runtime
from fststyle.styles.dial import dial_position
from fststyle.styles.shape import receptive_radius
from fststyle.styles.style_file import load_style, read_style


@pytest.fixture(scope="module", params=[1, 2], ids=["first_stride_1", "first_stride_2"])
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dialled")
    return save_dialled_style(make_dialled_network(request.param), folder / "a.onnx")


@pytest.fixture
def exact(path: Path, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    """A runtime that computes in float32 on every processor."""

    def compiler(threads: int | None) -> Any:
        core = openvino_core()
        settings = {"INFERENCE_PRECISION_HINT": "f32"}
        return lambda model: core.compile_model(core.read_model(model, b""), "CPU", settings)

    monkeypatch.setattr(runner, "openvino_compiler", compiler)
    return load_runtime(path, device="cpu", threads=1)


def photo_of(height: int, width: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).random((height, width, 3), np.float32)


def map_of(height: int, width: int) -> NDArray[np.float32]:
    """Return strengths from 0.25 at the left to 4 at the right."""
    return np.tile(np.geomspace(0.25, 4, width, dtype=np.float32), (height, 1))


def run_torch(path: Path, photo: NDArray[np.float32], strength: Any) -> NDArray[np.float32]:
    position: Any = torch.from_numpy(dial_position(strength))
    position = float(position) if position.ndim == 0 else position[None, None]
    tensor = torch.from_numpy(photo.transpose(2, 0, 1).copy())[None]
    with torch.inference_mode():
        return np.asarray(load_style(path)[0](tensor, position)[0].permute(1, 2, 0))


@pytest.mark.parametrize("strength", [0.25, 1.0, 2.7, 4.0])
def test_each_strength(strength: float, exact: Runtime, path: Path) -> None:
    photo = photo_of(37, 50)
    assert exact.has_dial
    expected = run_torch(path, photo, strength)
    np.testing.assert_allclose(exact(photo, strength=strength), expected, atol=2e-5)
    tiled = exact(photo, strength=strength, tile=16)
    np.testing.assert_allclose(tiled, expected, atol=1e-4)


@pytest.mark.parametrize(("height", "width"), [(37, 50), (3, 40), (64, 64)])
def test_map_whole_and_in_tiles(height: int, width: int, exact: Runtime, path: Path) -> None:
    photo, strength = photo_of(height, width), map_of(height, width)
    whole = exact(photo, strength=strength)
    if min(height, width) >= 5:
        np.testing.assert_allclose(whole, run_torch(path, photo, strength), atol=2e-5)
    np.testing.assert_allclose(exact(photo, strength=strength, tile=16), whole, atol=1e-4)
    even = np.full((height, width), 3, np.float32)
    np.testing.assert_allclose(exact(photo, strength=even), exact(photo, strength=3.0), atol=2e-5)
    assert np.abs(whole - exact(photo, strength=1.0)).max() > 0.02


@pytest.mark.parametrize(("height", "width"), [(150, 170), (300, 290), (20, 4000)])
def test_sample_shows_the_same_parts_of_photo_and_map(
    height: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiling, "SAMPLE_PIXELS", 30_000)
    photo = photo_of(height, width)
    sample = tiling.take_sample(photo, photo[..., 1])
    assert sample.positions is not None
    rows, columns = sample.batch.shape[2:]
    assert len(sample.positions) == len(sample.batch)
    np.testing.assert_array_equal(sample.positions[:, 0, :rows, :columns], sample.batch[:, 1])
    assert sample.positions.shape[2] % 4 == sample.positions.shape[3] % 4 == 0


def test_networks_are_kept_for_a_few_strengths() -> None:
    loaded: list[float | None] = []

    def load(strength: float | None) -> Loaded:
        loaded.append(strength)
        return Loaded(lambda photo, *maps: photo)

    run = Runtime.with_dial(Any, "cpu", load)  # type: ignore[arg-type]
    photo = photo_of(8, 8)
    for strength in (1.0, 2, 0.1, 0.2, 0.25, 1.0, np.ones((8, 8), np.float32)):
        run(photo, strength=strength)
    assert loaded == [1.0, 2.0, 0.25, None]


def test_gpu_code_follows_the_map(path: Path, exact: Runtime) -> None:
    network = read_style(path).torch_network()
    margin = receptive_radius(network.config)
    forward = on_torch.torch_forward(network, "cpu")
    tiled = Tiled(on_torch.torch_pin(network, "cpu"), margin)
    run = Runtime.with_dial(exact.info, "cuda", lambda strength: Loaded(forward, tiled))
    photo, strength = photo_of(37, 50), map_of(37, 50)
    expected = exact(photo, strength=strength)
    for tile in (None, 16):
        difference = np.abs(run(photo, strength=strength, tile=tile) - expected)
        assert difference.mean() < 0.5 / 255
        assert difference.max() < 8 / 255  # it computes in float16
