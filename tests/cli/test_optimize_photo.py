from __future__ import annotations

import re
from pathlib import Path

import pytest
from command_help import smooth
from optimize_help import step

from fststyle.cli import optimize_photo
from fststyle.perceptual.optimize import OptimizeConfig


def test_fallback_is_at_512_unless_told_otherwise() -> None:
    large, small = smooth(600, 800), smooth(30, 48)
    assert optimize_photo.working_image(large, None, "calibrated").shape == (384, 512, 3)
    assert optimize_photo.working_image(large, "full", "calibrated") is large
    assert optimize_photo.working_image(large, 80, "calibrated").shape == (60, 80, 3)
    assert optimize_photo.working_image(small, None, "calibrated") is small


@pytest.mark.parametrize(
    ("size", "preset", "working", "result"),
    [
        (None, "keras_vgg16", (512, 512), (512, 256)),
        (64, "keras_vgg16", (64, 32), (64, 32)),
        ("full", "keras_vgg16", (601, 301), (601, 301)),
        (None, "keras_vgg19", (512, 256), (512, 256)),
        (2000, "calibrated", (601, 301), (601, 301)),
    ],
)
def test_sizes(
    size: optimize_photo.Size, preset: str, working: tuple[int, int], result: tuple[int, int]
) -> None:
    pixels = smooth(601, 301)
    assert optimize_photo.working_image(pixels, size, preset).shape[:2] == working
    assert optimize_photo.result_shape(pixels, size, preset) == result


def test_share_of_the_work_counts_pixels() -> None:
    config = OptimizeConfig(iterations=10)
    recorder = optimize_photo.Progress(config, Path("o.png"), None, lambda *_: None)
    one_scale = [recorder._share_done(step(index, 10)) for index in (1, 5, 10)]
    assert one_scale == pytest.approx([0.1, 0.5, 1])
    # The finer scale has four times the pixels.
    two_scales = [recorder._share_done(step(index, 20)) for index in (5, 10, 11, 15, 20)]
    assert two_scales == pytest.approx([0.1, 0.2, 0.28, 0.6, 1])


def test_pictures_on_the_way_when_rounds_end_early() -> None:
    saved: list[str] = []
    config = OptimizeConfig(rounds=2, iterations=10)
    recorder = optimize_photo.Progress(
        config, Path("o.png"), 4, lambda pixels, path: saved.append(path.name)
    )
    for index, round_ in ((1, 1), (3, 1), (4, 1), (5, 1), (11, 2), (13, 2), (20, 2)):
        recorder.on_step(step(index, 20, round_))
    recorder.close()
    assert saved == ["o_00004.png", "o_00011.png", "o_00013.png", "o_00020.png"]


def test_progress_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(optimize_photo, "_SECONDS_A_LINE", 0.0)
    recorder = optimize_photo.Progress(
        OptimizeConfig(iterations=4), Path("o.png"), None, lambda *_: None
    )
    for index in (1, 2):
        recorder.on_step(step(index, 4))
    recorder.close()
    captured = capsys.readouterr()
    assert captured.out == ""
    # How long an iteration takes is known after two of them: the first one includes the start.
    first, second = captured.err.splitlines()
    assert first == "1/4, total 3.5, content 1, style 2"
    assert re.fullmatch(r"2/4, \d+ s left, total 3.5, content 1, style 2", second)
