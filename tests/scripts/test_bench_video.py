from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
from script_help import load_script

bench = load_script("bench/video")


def test_a_film_itself_has_next_to_no_error_and_noise_has_its_own() -> None:
    photo = bench.photographs()[0]
    clean, noisy = bench.Figures("clean"), bench.Figures("noisy")
    for motion in ("pan", "zoom", "rotation", "still"):
        path = bench.cameras(photo, 96, 4, motion)
        frames = list(bench.clip(photo, 96, 128, path, 0.0))
        assert frames[0].shape == (96, 128, 3)
        bench.measure(clean, motion, path, frames, frames, None)
        if motion == "still":
            assert clean.rms(motion) == 0
        else:
            unmoved = np.diff(np.stack(frames).astype(int), axis=0)[:, 12:-12, 12:-12]
            assert clean.rms(motion) < 0.5 * np.sqrt(np.square(unmoved).mean())
        rng = np.random.default_rng(0)
        pictures = [
            np.clip(np.rint(f + rng.normal(0, 8, f.shape)), 0, 255).astype(np.uint8) for f in frames
        ]
        bench.measure(noisy, motion, path, frames, pictures, None)
    # Of two frames with independent noise of sigma 8.
    assert noisy.rms("still") == pytest.approx(8 * 2**0.5, rel=0.1)
    assert noisy.sharpness[0] > clean.sharpness[0]


def test_the_spectrum_tells_slow_from_fast() -> None:
    path = [bench.Camera(1, 0)] * 16
    inner = np.ones((40, 40), bool)
    for cycles, band in ((1, 0), (3, 1), (6, 2), (8, 2)):
        levels = 100 + 20 * np.cos(2 * np.pi * cycles * np.arange(16) / 16)
        pictures = [np.full((40, 40, 3), np.rint(level), np.uint8) for level in levels]
        power = bench.spectrum(path, pictures, inner)
        assert power.argmax() == band
        mean_square = 200 if cycles < 8 else 400
        assert power.sum() == pytest.approx(mean_square, rel=0.05)


def test_tables_and_speed(
    style_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"trained": str(style_path), "untrained": None, "steady": [1.0], "noise": 2.0}
    monkeypatch.setattr(bench, "MOTIONS", {n: bench.MOTIONS[n] for n in ("pan", "passer-by")})
    sizes = {"size": 64, "frames": 5, "photos": 1}
    bench.steadiness(argparse.Namespace(**given, **sizes, no_losses=True))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert len({line.count("|") for line in lines}) == 1
    assert [line.split(" | ")[2] for line in lines[3:4]] == ["1.00"]
    assert lines[5].startswith("| trained to be steady: and the blend at 1 ")
