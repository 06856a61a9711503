from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import openvino
import psutil
import pytest
import torch
from errors_help import raises
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from networks import SMALL_CONFIGS, make_small_network, save_small_style
from numpy.typing import NDArray

from fststyle.errors import FststyleError, SettingError
from fststyle.runtime import on_torch, tiling
from fststyle.runtime import runner as runtime
from fststyle.runtime.runner import Runtime, Tiled, load_runtime
from fststyle.runtime.tiling import (
    LARGEST_TILE,
    SAMPLE_PIXELS,
    SMALLEST_TILE,
    WHOLE_PIXELS,
    Sample,
    available_memory,
    choose_tile,
    from_batch,
    run_in_tiles,
    take_sample,
    tiles,
    to_batch,
)
from fststyle.styles.info import StyleInfo
from fststyle.styles.shape import STRIDE, NetworkConfig, receptive_radius
from fststyle.styles.style_file import load_style


def tiled_of(run: Runtime) -> Tiled:
    tiled = run._load(1.0).tiled
    assert tiled is not None
    return tiled


def photo_of(height: int, width: int, seed: int = 0) -> NDArray[np.float32]:
    """Return noise that gets coarser and brighter to the right and below."""
    random = np.random.default_rng(seed)
    photo = random.random((height, width, 3), np.float32)
    photo *= np.linspace(0.2, 1, width, dtype=np.float32)[None, :, None]
    photo *= np.linspace(1, 0.3, height, dtype=np.float32)[:, None, None]
    return photo


@pytest.fixture(scope="module")
def exact_by_stride(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Runtime]:
    """Small styles by their first stride, in float32."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        get_property = openvino.Core.get_property
        patch.setattr(
            openvino.Core,
            "get_property",
            lambda core, *args: ["FP32"] if len(args) == 2 else get_property(core, *args),
        )
        for stride, config in SMALL_CONFIGS.items():
            network = make_small_network(config)
            path = save_small_style(network, tmp_path_factory.mktemp("styles"))
            found[stride] = load_runtime(path, device="cpu", threads=1)
    return found


# Tiles


@given(
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    side=st.integers(1, 90),
    margin=st.sampled_from((0, 4, 52)),
)
@settings(deadline=None, derandomize=True)
def test_tiles_cover_the_photo_once(height: int, width: int, side: int, margin: int) -> None:
    covered = np.zeros((height, width), int)
    for tile in tiles(height, width, side, margin):
        covered[tile.kept] += 1
        for computed, kept, length in zip(tile.computed, tile.kept, (height, width), strict=True):
            assert computed.start % STRIDE == 0
            assert kept.stop - kept.start <= -(-side // STRIDE) * STRIDE
            assert computed.start == max(0, kept.start - margin)
            assert computed.stop == min(length, kept.stop + margin)
        inside = covered[tile.computed][tile.inner]
        assert inside.shape == covered[tile.kept].shape
        assert np.shares_memory(inside, covered[tile.kept])
    assert (covered == 1).all()


@settings(deadline=None, max_examples=15, derandomize=True, phases=[Phase.generate])
@given(data=st.data())
def test_tiles_equal_the_whole(data: st.DataObject, exact_by_stride: dict[int, Runtime]) -> None:
    run = exact_by_stride[data.draw(st.sampled_from((1, 2)), "first stride")]
    height, width = (data.draw(st.integers(1, 130), name) for name in ("height", "width"))
    side = data.draw(st.integers(1, 70), "side")
    photo = photo_of(height, width)
    difference = np.abs(run(photo, tile=side) - run(photo))
    assert difference.max() < 1e-3  # the goal is 1/255


def test_bytes_stay_bytes(exact_by_stride: dict[int, Runtime]) -> None:
    run = exact_by_stride[2]
    photo = np.rint(photo_of(61, 90) * 255).astype(np.uint8)
    before = photo.copy()
    whole, tiled = run(photo), run(photo, tile=32)
    assert whole.dtype == tiled.dtype == np.uint8
    assert tiled.shape == photo.shape
    assert np.abs(whole.astype(int) - tiled).max() <= 1
    np.testing.assert_array_equal(
        whole, np.rint(run(photo.astype(np.float32) / np.float32(255)) * 255)
    )
    np.testing.assert_array_equal(photo, before)


@pytest.mark.parametrize(
    "config",
    [NetworkConfig(first_stride=1, width=4, trunk=8), NetworkConfig(width=4, trunk=8)]
    + [NetworkConfig(width=4, trunk=8, residual_blocks=n) for n in (0, 2)],
    ids=str,
)
def test_receptive_radius_is_enough_and_not_much_more(config: NetworkConfig) -> None:
    network = make_small_network(config)
    for module in network.modules():  # pinned, to anything
        if isinstance(module, torch.nn.InstanceNorm2d):
            module.register_forward_hook(lambda module, inputs, output: inputs[0])
    distance = receptive_radius(config)
    assert distance % STRIDE == 0
    photo = torch.rand(1, 3, 1, 320, generator=torch.Generator().manual_seed(0)).repeat(1, 1, 8, 1)
    seen = 0
    for position in range(160, 164):
        changed = photo.clone()
        changed[..., position] = 1 - changed[..., position]
        with torch.inference_mode():
            differs = (network.double()(photo.double()) != network(changed.double())).any(1)[0, 0]
        columns = torch.nonzero(differs)[:, 0]
        seen = max(seen, position - int(columns.min()), int(columns.max()) - position)
    assert distance - 12 < seen <= distance


@pytest.mark.parametrize("stride", [1, 2])
def test_plain_photo_in_tiles(stride: int, exact_by_stride: dict[int, Runtime]) -> None:
    run = exact_by_stride[stride]
    photo = np.full((40, 50, 3), 0.3, np.float32)
    np.testing.assert_allclose(run(photo, tile=16), run(photo), atol=1 / 255)


def test_margin_matters(exact_by_stride: dict[int, Runtime]) -> None:
    run = exact_by_stride[2]
    photo = photo_of(60, 120)
    forward = tiled_of(run).pin(take_sample(photo))
    tiled = run_in_tiles(photo, forward, side=60, margin=0)
    assert np.abs(tiled - run(photo)).max() > 0.02


# The sample


def test_small_photo_is_its_own_sample() -> None:
    photo = photo_of(31, 46)
    sample = take_sample(photo)
    assert sample.inset == (0, 0)
    np.testing.assert_array_equal(sample.batch, to_batch(photo))


@pytest.mark.parametrize(
    ("height", "width"), [(400, 300), (2000, 40), (20, 3000), (101, 1500), (5, 9000)]
)
def test_sample_is_spread_over_the_photo(
    height: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiling, "SAMPLE_PIXELS", 30_000)
    monkeypatch.setattr(tiling, "_CROP", 32)
    monkeypatch.setattr(tiling, "_INSET", 4)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    photo = np.stack(((y + 0.5) / height, x / width, 0 * y), axis=2)
    batch, inset, _ = take_sample(photo)
    assert batch.shape[2:] == (min(height, 32), min(width, 32))
    assert inset == (4 if height > 32 else 0, 4 if width > 32 else 0)
    assert 10_000 < batch[:, 0].size <= 33_000
    np.testing.assert_allclose(batch[:, :2].mean((0, 2, 3)), 0.5, atol=0.04)
    assert batch[:, 1].max() > 0.9
    assert batch[:, 1].min() < 0.1


def test_sample_has_about_the_statistics_of_the_photo(
    exact_by_stride: dict[int, Runtime], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = exact_by_stride[2]
    photo = photo_of(400, 500)
    whole = run(photo)
    monkeypatch.setattr(tiling, "SAMPLE_PIXELS", 100_000)
    sampled = run(photo, tile=256)
    assert 0 < np.abs(sampled - whole).mean() < 2 / 255


def test_inset_does_not_count(exact_by_stride: dict[int, Runtime]) -> None:
    run = exact_by_stride[2]
    photo = photo_of(96, 128)
    framed = photo.copy()
    framed[:4] = 1
    framed[:, -4:] = 0
    batch, window = to_batch(photo), to_batch(photo)[:, :, :64, :64]
    plain = tiled_of(run).pin(Sample(batch, (40, 40)))(window).copy()
    same = tiled_of(run).pin(Sample(to_batch(framed), (40, 40)))(window).copy()
    other = tiled_of(run).pin(Sample(to_batch(framed), (0, 0)))(window)
    np.testing.assert_allclose(same, plain, atol=1e-5)
    assert np.abs(other - plain).max() > 0.01


# Devices


def test_torch_pins_the_same_statistics(each_style_path: Path) -> None:
    # What a GPU does, on the CPU.
    network, info = load_style(each_style_path)
    margin = receptive_radius(network.config)
    photo = photo_of(75, 118)
    forward = on_torch.torch_forward(network, "cpu")
    tiled = Tiled(on_torch.torch_pin(network, "cpu"), margin)
    run = Runtime(info, "cuda", forward, tiled)
    assert np.abs(run(photo, tile=40) - run(photo)).max() < 0.02
    window = photo[:64]
    pinned = tiled.pin(Sample(to_batch(photo), (8, 12)))(to_batch(window))
    expected = load_runtime(each_style_path, device="cpu", threads=1)
    other = tiled_of(expected).pin(Sample(to_batch(photo), (8, 12)))(to_batch(window))
    assert np.abs(pinned - other).mean() < 0.01


# The choice


def test_choice() -> None:
    plenty = 10**12
    assert choose_tile(3000, 4000, plenty) is None
    assert choose_tile(8333, 12_000, plenty) == LARGEST_TILE
    assert choose_tile(1, WHOLE_PIXELS + 1, plenty) == LARGEST_TILE
    side = choose_tile(3000, 4000, 300 * 10**6)
    assert side is not None
    assert SMALLEST_TILE < side < LARGEST_TILE
    assert choose_tile(3000, 4000, 0) == SMALLEST_TILE


def test_photo_beyond_the_memory_is_tiled(
    exact_by_stride: dict[int, Runtime], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = exact_by_stride[2]
    photo = photo_of(300, 290)
    expected = run(photo, tile=SMALLEST_TILE)
    poor = Tiled(tiled_of(run).pin, tiled_of(run).margin, lambda: 0)

    def must_not_be_called(photo: NDArray[np.float32]) -> NDArray[np.float32]:
        raise AssertionError

    monkeypatch.setattr(runtime, "SMALL_PIXELS", 10_000)
    actual = Runtime(StyleInfo("a"), "cpu", must_not_be_called, poor)(photo)
    np.testing.assert_array_equal(actual, expected)


def test_memory_is_what_the_container_has_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=5000))
    limit, used = tmp_path / "max", tmp_path / "current"
    monkeypatch.setattr(tiling, "_CGROUP_FILES", ((str(limit), str(used)),))
    assert available_memory() == 5000
    used.write_text("700\n")
    for text, expected in (("max\n", 5000), ("1000\n", 300), ("9000\n", 5000), ("600\n", 0)):
        limit.write_text(text)
        assert available_memory() == expected


@pytest.mark.parametrize("tile", [0, -4, 1.5, True, "64"])
def test_tile_out_of_range(tile: int, exact_by_stride: dict[int, Runtime]) -> None:
    with raises(SettingError, "setting", "tile"):
        exact_by_stride[2](photo_of(8, 8), tile=tile)


def test_too_little_memory_for_a_tile(exact_by_stride: dict[int, Runtime]) -> None:
    def pin(sample: Sample) -> tiling.Forward:
        raise MemoryError

    run = Runtime(StyleInfo("a"), "cpu", lambda photo: photo, Tiled(pin, 4))
    with raises(FststyleError, "out_of_memory"):
        run(photo_of(40, 40), tile=16)


def test_rounding() -> None:
    picture = np.array([0, 0.001, 0.002, 0.5, 0.998, 1], np.float32).reshape(1, 3, 1, 2)
    actual = from_batch(picture, np.zeros(1, np.uint8))
    np.testing.assert_array_equal(actual, [[[0, 1, 254], [0, 128, 255]]])
    assert from_batch(picture, np.zeros(1, np.float32)).flags.c_contiguous
    assert SAMPLE_PIXELS < WHOLE_PIXELS
