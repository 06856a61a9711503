from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from dialled import make_dialled_network, save_dialled_style
from errors_help import raises
from networks import overflowing_style
from numpy.typing import NDArray
from video_help import scene, with_shape

from fststyle.errors import SettingError, StyleError
from fststyle.styles.info import StyleInfo
from fststyle.styles.network import TransformerNet
from fststyle.styles.shape import NetworkConfig
from fststyle.styles.style_file import load_style, save_style
from fststyle.stylize.control import Control
from fststyle.stylize.stylizer import Stylizer
from fststyle.video.frames import FrameRuntime, _torch_forward, load_frame_runtime
from fststyle.video.video_stylizer import VideoStylizer


def distance(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return float(np.abs(one[:24].astype(int) - other[:24]).mean())


def test_frame_by_frame_is_what_the_stylizer_makes(each_style_path: Path) -> None:
    stylizer = VideoStylizer(each_style_path, steady=0, smoothing=0, device="cpu")
    photo = Stylizer(each_style_path, device="cpu")
    for index in range(3):
        frame = scene(index)
        # Both round to bfloat16, in other places.
        assert distance(stylizer.frame(frame, index / 25), photo(frame)) < 5


def test_statistics_are_smoothed(each_style_path: Path) -> None:
    before, after = scene(0), with_shape(scene(0))
    change = []
    for smoothing in (0, 0.5, 5.0):
        stylizer = VideoStylizer(each_style_path, steady=0, smoothing=smoothing, device="cpu")
        first = stylizer.frame(before, 0)
        change.append(distance(first, stylizer.frame(after, 0.04)))
        assert stylizer.cuts == 0
    # The far part of the picture changes less, the more is kept.
    assert change[2] < 0.5 * change[0]
    assert change[2] <= change[1] < change[0]


def test_what_stays_arrives_at_its_own_statistics(style_path: Path) -> None:
    stylizer = VideoStylizer(style_path, steady=0, smoothing=0.2, device="cpu")
    stylizer.frame(scene(0), 0)
    after = with_shape(scene(0))
    for index in range(40):
        result = stylizer.frame(after, 0.04 * (index + 1))
    alone = VideoStylizer(style_path, steady=0, smoothing=0, device="cpu").frame(after, 0)
    np.testing.assert_allclose(result, alone, atol=8)


def test_a_cut_begins_anew(style_path: Path) -> None:
    stylizer = VideoStylizer(style_path, steady=0.7, smoothing=5, device="cpu")
    fresh = VideoStylizer(style_path, steady=0.7, smoothing=5, device="cpu")
    for index in range(3):
        stylizer.frame(scene(0), index / 25)
    np.testing.assert_array_equal(stylizer.frame(scene(3), 0.12), fresh.frame(scene(3), 0.12))
    assert stylizer.cuts == 1
    stylizer.restart()
    fresh.restart()
    np.testing.assert_array_equal(stylizer.frame(scene(3), 0), fresh.frame(scene(3), 0))
    assert stylizer.cuts == 1


def test_controls_and_blends(style_path: Path, tmp_path: Path) -> None:
    frame = scene(1)
    stylizer = VideoStylizer(f"{style_path}:1", steady=0.5, device="cpu")
    assert stylizer.styles[0][0].name == "small"
    np.testing.assert_array_equal(stylizer.frame(frame, 0, Control(strength=0)), frame)
    full, half = stylizer.frame(frame, 0), stylizer.frame(frame, 0, Control(strength=0.5))
    between = (full.astype(int) + frame) / 2
    assert np.abs(half - between).mean() < 6
    coarse = stylizer.frame(frame, 0, Control(scale=2.0, keep_colors=True))
    assert coarse.shape == frame.shape
    twice = VideoStylizer(f"{style_path}:1,{style_path}:3", steady=0, device="cpu")
    assert twice.frame(frame, 0).dtype == np.uint8


@pytest.mark.parametrize("smoothing", [-1, float("inf"), float("nan"), True])
def test_smoothing_is_a_time(style_path: Path, smoothing: float) -> None:
    with raises(SettingError, "setting", "smoothing"):
        VideoStylizer(style_path, smoothing=smoothing, steady=0, device="cpu")


def test_torch_smooths_as_openvino_does(each_style_path: Path) -> None:
    # What a GPU does, on the CPU.
    network, info = load_style(each_style_path)
    on_gpu = FrameRuntime(info, "cuda", _torch_forward(network, "cpu", info))
    on_cpu = load_frame_runtime(each_style_path, device="cpu")
    for keep, frame in ((0.0, scene(0)), (0.9, with_shape(scene(0))), (0.9, scene(0))):
        on_gpu.keep = on_cpu.keep = keep
        expected, actual = on_cpu(frame), on_gpu(frame)
        assert np.abs(actual.astype(int) - expected).mean() < 3


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_numbers_that_overflow_are_no_frame(
    device: str, style_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = overflowing_style(style_path, tmp_path, monkeypatch)
    runtime = load_frame_runtime(path, device="cpu")
    if device == "cuda":  # what a GPU does, on the CPU
        network, info = load_style(path)
        runtime = FrameRuntime(info, "cuda", _torch_forward(network, "cpu", info))
    with raises(StyleError, "diverged"):
        runtime(scene(0))


def test_tiny_frames_and_tiles(style_path: Path) -> None:
    run = load_frame_runtime(style_path, device="cpu")
    run.keep = 0.9
    for size in ((1, 1), (3, 20), (31, 31)):
        frame = scene(0, *size)
        first = run(frame)
        assert first.shape == frame.shape
        np.testing.assert_array_equal(run(frame), first)
    floats = np.asarray(scene(0) / 255, np.float32)
    assert run(floats).dtype == np.float32
    with raises(SettingError, "setting", "tile"):
        run(floats, tile=64)


def test_style_with_a_dial(tmp_path: Path) -> None:
    path = save_dialled_style(make_dialled_network(), tmp_path / "dialled.onnx")
    video = VideoStylizer(path, steady=0, smoothing=0, device="cpu", threads=1)
    photo = Stylizer(path, device="cpu", threads=1)
    frame = scene(0)
    results = []
    for strength in (0.0, 0.1, 1.0, 4.0):
        actual = video.frame(frame, 0.0, Control(strength=strength))
        assert distance(actual, photo(frame, strength=strength)) < 5
        results.append(actual)
    np.testing.assert_array_equal(results[0], frame)
    assert distance(results[2], results[3]) > 5
    for control in (Control(faces="gentle"), Control(subject=0.5)):
        with raises(SettingError, "photos_only"):
            video.frame(frame, 0.0, control)


@pytest.mark.parametrize("size", [(64, 96), (61, 94)])
def test_map_of_strengths(size: tuple[int, int], tmp_path: Path) -> None:
    path = save_dialled_style(make_dialled_network(), tmp_path / "dialled.onnx")
    values = np.linspace(0, 1, 7, dtype=np.float32)[None].repeat(5, axis=0)
    control = Control(strength=4, strength_map=values)
    frame = scene(0, *size)
    expected = Stylizer(path, device="cpu", threads=1).pixels(frame, control)
    still = VideoStylizer(path, steady=0, device="cpu", threads=1)
    results = [still.frame(frame, n / 25, control) for n in range(4)]
    assert distance(results[0], expected) < 5  # both round to bfloat16, in other places
    assert distance(results[0], still.frame(frame, 0.2, Control(strength=4))) > 5
    for result in results[1:]:  # the statistics are carried over
        assert distance(result, results[0]) < 0.5
    np.testing.assert_array_equal(results[0][:, 0], frame[:, 0])  # black at the left edge
    # Statistics are smoothed as without a map.
    change = []
    for smoothing in (0, 5.0):
        video = VideoStylizer(path, steady=0, smoothing=smoothing, device="cpu", threads=1)
        first = video.frame(frame, 0, control)
        change.append(distance(first, video.frame(with_shape(frame), 0.04, control)))
    assert change[1] < 0.7 * change[0]


def test_frames_are_enlarged_only(tmp_path: Path) -> None:
    path = save_dialled_style(make_dialled_network(), tmp_path / "dialled.onnx")
    video = VideoStylizer(path, steady=0, smoothing=0, device="cpu", threads=1)
    photo = Stylizer(path, device="cpu", threads=1)
    once, twice = (photo(scene(0), scale=2, repaint=repaint) for repaint in (False, True))
    frame = video.frame(scene(0), 0, Control(scale=2))
    assert distance(frame, once) < 5 < distance(frame, twice)


def test_frames_have_no_grain(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = TransformerNet(NetworkConfig(width=4, trunk=8, residual_blocks=1, grain=8)).eval()
    save_style(network, StyleInfo("grainy"), tmp_path / "grainy.onnx")
    grey = np.full((64, 96, 3), 128, np.uint8)
    photo = Stylizer(tmp_path / "grainy.onnx", device="cpu", threads=1)
    video = VideoStylizer(tmp_path / "grainy.onnx", steady=0, device="cpu", threads=1)
    assert np.ptp(photo(grey).astype(int), axis=(0, 1)).min() > 10
    assert np.ptp(video.frame(grey, 0).astype(int), axis=(0, 1)).max() <= 1


def test_map_with_torch(tmp_path: Path) -> None:
    path = save_dialled_style(make_dialled_network(), tmp_path / "dialled.onnx")
    strengths = np.linspace(0.25, 4, 96, dtype=np.float32)[None].repeat(64, axis=0)
    frame = scene(0)[:64, :96]
    network, info = load_style(path)
    forward = _torch_forward(network, "cpu", info)
    gpu = FrameRuntime.with_dial(info, "cuda", lambda strength: forward)  # on the CPU
    cpu = load_frame_runtime(path, device="cpu", threads=1)
    for keep in (0.0, 0.9):
        gpu.keep = cpu.keep = keep
        one, other = gpu(frame, strength=strengths), cpu(frame, strength=strengths)
        assert distance(one, other) < 5
