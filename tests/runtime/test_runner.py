from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import openvino
import pytest
import torch
from errors_help import raises
from numpy.typing import NDArray

from fststyle.errors import FststyleError, SettingError, StyleError
from fststyle.runtime import on_openvino, on_torch
from fststyle.runtime import runner as runtime
from fststyle.runtime.runner import Runtime, Tiled, load_runtime
from fststyle.styles.info import StyleInfo
from fststyle.styles.network import TransformerNet
from fststyle.styles.style_file import load_style


def random_pixels(height: int, width: int) -> NDArray[np.float32]:
    return np.random.default_rng(2).random((height, width, 3), np.float32)


def run_torch(transformer: TransformerNet, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    with torch.inference_mode():
        picture: torch.Tensor = transformer(torch.tensor(pixels).permute(2, 0, 1)[None])
    return np.array(picture[0].permute(1, 2, 0).numpy())


@pytest.mark.parametrize(
    ("height", "width"), [(64, 61), (7, 5), (3, 4), (1, 1), (1, 30), (30, 1), (4, 64)]
)
def test_cpu_gives_torchs_result(each_style_path: Path, height: int, width: int) -> None:
    pixels = random_pixels(height, width)
    before = pixels.copy()
    actual = load_runtime(each_style_path, device="cpu")(pixels)
    expected = run_torch(load_style(each_style_path)[0], pixels)
    assert actual.shape == (height, width, 3)
    assert actual.dtype == np.float32
    assert actual.flags.c_contiguous
    assert actual.min() >= 0
    assert actual.max() <= 1
    # bfloat16 keeps 8 bits, and a tiny photo's instance norm has few pixels to average over.
    assert np.abs(actual - expected).max() < 0.1
    assert np.abs(actual - expected).mean() < 0.02
    np.testing.assert_array_equal(pixels, before)


def test_float32_without_bfloat16(each_style_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    get_property = openvino.Core.get_property

    def without_bf16(core: openvino.Core, *args: str) -> object:
        if args == ("CPU", "OPTIMIZATION_CAPABILITIES"):
            return ["FP32", "INT8"]
        return get_property(core, *args)

    monkeypatch.setattr(openvino.Core, "get_property", without_bf16)
    pixels = random_pixels(63, 50)
    actual = load_runtime(each_style_path, device="cpu", threads=1)(pixels)
    expected = run_torch(load_style(each_style_path)[0], pixels)
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_pictures_do_not_share_memory(style_path: Path) -> None:
    run = load_runtime(style_path, device="cpu")
    first = run(random_pixels(16, 16))
    copy = first.copy()
    run(1 - random_pixels(16, 16))
    np.testing.assert_array_equal(first, copy)


def test_photo_may_be_a_view(style_path: Path) -> None:
    run = load_runtime(style_path, device="cpu")
    pixels = random_pixels(40, 40)
    view = pixels[::-2, 3:30:2]
    np.testing.assert_array_equal(run(view), run(view.copy()))


def test_torch_in_half_precision_gives_the_same_result(each_style_path: Path) -> None:
    # What a GPU does, on the CPU.
    loaded, info = load_style(each_style_path)
    pixels = random_pixels(33, 64)
    expected = run_torch(loaded, pixels)
    run = Runtime(info, "cuda", on_torch.torch_forward(loaded, "cpu"))
    actual = run(pixels)
    assert actual.dtype == np.float32
    assert actual.flags.c_contiguous
    np.testing.assert_allclose(actual, expected, atol=0.01)
    assert next(loaded.parameters()).dtype == torch.float16


def test_info_and_device(style_path: Path) -> None:
    run = load_runtime(style_path, device="cpu", threads=1)
    assert run.info == StyleInfo("small", title="A small one")
    assert run.device == "cpu"


@pytest.mark.parametrize(("cuda", "mps"), [(True, True), (False, True), (False, False)])
def test_auto_is_the_gpu_of_a_torch_that_is_loaded(
    cuda: bool, mps: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert runtime._best_device() == ("cuda" if cuda else "mps" if mps else "cpu")
    monkeypatch.delitem(sys.modules, "torch")
    assert runtime._best_device() == "cpu"


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_missing_gpu(device: str, style_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with raises(SettingError, "no_device", device):
        load_runtime(style_path, device=device)  # type: ignore[arg-type]


def test_unknown_device(style_path: Path) -> None:
    with raises(SettingError, "setting", "auto, cpu, cuda, mps", "gpu"):
        load_runtime(style_path, device="gpu")  # type: ignore[arg-type]


@pytest.mark.parametrize("threads", [0, -1, 1.5, True])
def test_threads_out_of_range(threads: int, style_path: Path) -> None:
    with raises(SettingError, "setting", "threads"):
        load_runtime(style_path, device="cpu", threads=threads)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Failed to allocate 288000000 bytes of memory"),
        RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("Exception from core.cpp: std::bad_alloc"),
    ],
)
def test_too_little_memory(error: Exception) -> None:
    def forward(photo: NDArray[np.float32]) -> NDArray[np.float32]:
        raise error

    with raises(FststyleError, "out_of_memory", "40×30 pixels") as caught:
        Runtime(StyleInfo("a"), "cpu", forward)(random_pixels(30, 40))
    assert caught.value.details == {"size": 20}


def test_other_errors_keep_their_traceback() -> None:
    def forward(photo: NDArray[np.float32]) -> NDArray[np.float32]:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        Runtime(StyleInfo("a"), "cpu", forward)(random_pixels(30, 40))


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_hostile_file_is_refused_before_anything_runs_it(
    device: str, style_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def must_not_be_called(*args: object) -> None:
        raise AssertionError

    monkeypatch.setattr(on_openvino, "openvino_core", must_not_be_called)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    model = onnx.ModelProto.FromString(style_path.read_bytes())
    tensor = model.graph.initializer[-1]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="secret")
    tensor.ClearField("raw_data")
    path = tmp_path / "a.onnx"
    path.write_bytes(model.SerializeToString())
    with raises(StyleError, "unsafe", path):
        load_runtime(path, device=device)  # type: ignore[arg-type]
    with pytest.raises(AssertionError):
        load_runtime(style_path, device="cpu")


@pytest.mark.parametrize("tile", [None, 64])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_no_photo(tile: int | None, value: float) -> None:
    def forward(photo: NDArray[np.float32]) -> NDArray[np.float32]:
        result = photo.copy()
        result[0, 1, 2, 3] = value
        return result

    run = Runtime(StyleInfo("bad"), "cpu", forward, Tiled(lambda _: forward, 16))
    with raises(StyleError, "diverged", "bad"):
        run(random_pixels(96, 80), tile=tile)
