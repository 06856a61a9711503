from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import _clips as clips
import numpy as np
import pytest
from script_help import load_script

bench = load_script("bench/video")


def test_a_clip_itself_has_almost_no_error_and_noise_has_its_own() -> None:
    photo = clips.photographs()[0]
    clean, noisy = bench.Figures("clean"), bench.Figures("noisy")
    for motion in ("pan", "zoom", "rotation", "still"):
        path = clips.cameras(photo, 96, 4, motion)
        frames = list(clips.clip(photo, 96, 128, path, 0.0))
        assert frames[0].shape == (96, 128, 3)
        bench.measure(clean, motion, path, frames, frames, None)
        if motion == "still":
            assert clean.rms(motion) == 0
        else:
            unmoved = np.diff(np.stack(frames).astype(int), axis=0)[:, 12:-12, 12:-12]
            assert clean.rms(motion) < 0.5 * np.sqrt(np.square(unmoved).mean())
        rng = np.random.default_rng(0)
        results = [
            np.clip(np.rint(f + rng.normal(0, 8, f.shape)), 0, 255).astype(np.uint8) for f in frames
        ]
        bench.measure(noisy, motion, path, frames, results, None)
    # Of two frames with independent noise of sigma 8.
    assert noisy.rms("still") == pytest.approx(8 * 2**0.5, rel=0.1)
    assert noisy.sharpness[0] > clean.sharpness[0]


def test_the_spectrum_tells_slow_from_fast() -> None:
    path = [clips.Camera(1, 0)] * 16
    inner = np.ones((40, 40), bool)
    for cycles, band in ((1, 0), (3, 1), (6, 2), (8, 2)):
        levels = 100 + 20 * np.cos(2 * np.pi * cycles * np.arange(16) / 16)
        results = [np.full((40, 40, 3), np.rint(level), np.uint8) for level in levels]
        power = bench.spectrum(path, results, inner)
        assert power.argmax() == band
        mean_square = 200 if cycles < 8 else 400
        assert power.sum() == pytest.approx(mean_square, rel=0.05)


@pytest.fixture
def arguments(style_path: Path, tmp_path: Path) -> dict[str, Any]:
    given = {"trained": str(style_path), "untrained": None, "steady": [1.0], "noise": 2.0}
    return {**given, "size": 64, "frames": 5, "photos": 1, "records": tmp_path}


def test_table_of_steadiness(
    arguments: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(bench, "MOTIONS", {n: bench.MOTIONS[n] for n in ("pan", "passer-by")})
    bench.steadiness(argparse.Namespace(**arguments, no_losses=True))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(lines) == 6
    assert len({line.count("|") for line in lines}) == 1
    assert [line.split(" | ")[2] for line in lines[3:4]] == ["1.00"]
    assert lines[5].startswith("| plus mixing at 1 ")
    (path,) = tmp_path.glob("video_steadiness_*.json")
    record = json.loads(path.read_text())
    assert [row["name"] for row in record["values"]][0] == "the videos themselves"
    assert len(record["tables"]["video-steadiness"]["rows"]) == 4


def test_table_of_speed(
    arguments: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.speed(argparse.Namespace(**arguments, speed_sizes=((64, 96),)))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| 64p, steady 0", "| 64p, steady 0.6"]
    (path,) = tmp_path.glob("video_speed_*.json")
    values = json.loads(path.read_text())["values"]
    assert values["64p, steady 0"]["network"] > 0
