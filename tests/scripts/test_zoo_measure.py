from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from script_help import load_script

from fststyle.images.save import save_photo
from fststyle.perceptual.vgg import VGGWeights
from fststyle.styles.info import StyleInfo
from fststyle.styles.quality import Quality

measure_style = load_script("zoo/measure")


def test_failed_checks_are_those_over_their_limit() -> None:
    limits = measure_style.LIMITS
    values = dict(limits)
    assert measure_style.failed_checks(StyleInfo("a", training={"gates": values})) == []
    assert measure_style.failed_checks(StyleInfo("a")) == []
    first, second, *_ = limits
    values |= {first: limits[first] + 0.001, second: None}
    failed = measure_style.failed_checks(StyleInfo("a", training={"gates": values}))
    assert [line.split()[0] for line in failed] == [first, second]


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
    assert record["failed_checks"] == []
    assert record["sha256"] == hashlib.sha256(style_path.read_bytes()).hexdigest()
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
    assert str(stop.value.code).endswith("does not exist. Check the path.")
