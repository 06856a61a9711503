from __future__ import annotations

from pathlib import Path

import numpy as np

from fststyle.images.load import load_image
from fststyle.images.save import save_photo
from fststyle.training.sweep import Job, labels, to_install, write_sweep_sheet


def test_labels() -> None:
    def job(*overrides: str) -> Job:
        return Job(overrides, Path("a.onnx"))

    actual = labels(
        [job("style=a", "w=1", "minutes=2"), job("style=a", "w=2", "minutes=2"), job("style=a")]
    )
    assert actual == ["w=1 minutes=2", "w=2 minutes=2", "a"]
    assert labels([job("style=a"), job("style=a")]) == ["a", "a"]


def test_labels_tell_what_was_interrupted() -> None:
    jobs = [Job(("w=1",), Path("a.onnx")), Job(("w=2",), Path("a.onnx"), interrupted=True)]
    assert labels(jobs) == ["w=1", "w=2 (interrupted)"]


def test_only_a_style_that_was_trained_once_is_installed() -> None:
    a, b = Job(("style=a",), Path("1/a.onnx")), Job(("style=b",), Path("2/b.onnx"))
    assert to_install([a, b]) == ([a, b], [])
    assert to_install([a, Job(("w=2",), Path("3/a.onnx")), b]) == ([b], ["a"])
    assert to_install([Job((), Path("a.onnx"), installable=False)]) == ([], [])


def test_sheet_of_given_photos(tmp_path: Path, style_path: Path) -> None:
    save_photo(np.full((40, 60, 3), 0.3, np.float32), tmp_path / "photo.png")
    jobs = [Job((f"w={weight}",), style_path) for weight in (1, 2, 3)]
    write_sweep_sheet(jobs, tmp_path / "sheet.png", [tmp_path / "photo.png"])
    height, width, _ = load_image(tmp_path / "sheet.png").shape
    assert (height, width) == (8 + 20 + 8 + 320 + 8, 8 + 4 * (480 + 8))
