from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from script_help import load_script

from fststyle.images import save_photo
from fststyle.quality import Quality
from fststyle.vgg import VGGWeights

measure_style = load_script("measure_style")


def test_middle_square() -> None:
    photo = np.zeros((4, 10, 3), np.float32)
    photo[:, 3:7] = 1
    assert measure_style.middle_square(photo, 8).shape == (8, 8, 3)
    np.testing.assert_array_equal(measure_style.middle_square(photo, 8), 1)
    np.testing.assert_array_equal(measure_style.middle_square(photo.transpose(1, 0, 2), 2), 1)


def test_measure(
    style_path: Path, original_weights: VGGWeights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    for folder, name in (("a", "cat"), ("b", "cat"), ("b", "style")):
        (tmp_path / folder).mkdir(exist_ok=True)
        pixels = random.random((40, 48, 3), dtype=np.float32)
        save_photo(pixels, tmp_path / folder / f"{name}.png")
    monkeypatch.setattr(measure_style, "load_weights", lambda *_: original_weights)
    photos = [tmp_path / "a" / "cat.png", tmp_path / "b" / "cat.png"]
    picture = tmp_path / "b" / "style.png"
    output = tmp_path / "out"
    found = measure_style.measure(style_path, picture, output, photos, [16, 32], 3)
    assert [(q.size, q.photos, q.iterations) for q in found] == [(16, 2, 3), (32, 2, 3)]
    assert all(q.photo_style > 0 for q in found)
    record = json.loads((output / "quality.json").read_text())
    assert [Quality(**values) for values in record["quality"]] == found
    assert record["photos"] == ["cat.png", "cat.png"]
    for size in (16, 32):
        report = json.loads((output / str(size) / "report.json").read_text())
        assert [p["height"] for p in report["photos"]] == [size, size]
        assert [p["name"] for p in report["photos"]] == [str(path) for path in photos]


def test_command_says_what_is_wrong(
    style_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [str(style_path), "--picture", str(tmp_path / "no.png"), "-o", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["measure_style.py", *options])
    with pytest.raises(SystemExit) as stop:
        measure_style.main()
    assert str(stop.value.code).startswith("Error: There is no photo ")
