from __future__ import annotations

from pathlib import Path

import numpy as np

from fststyle.images import load_image, save_photo
from fststyle.sweep import Job, labels, write_sweep_sheet


def test_labels() -> None:
    def job(*overrides: str) -> Job:
        return Job(overrides, Path("a.onnx"))

    actual = labels(
        [job("style=a", "w=1", "minutes=2"), job("style=a", "w=2", "minutes=2"), job("style=a")]
    )
    assert actual == ["w=1 minutes=2", "w=2 minutes=2", "a"]
    assert labels([job("style=a"), job("style=a")]) == ["a", "a"]


def test_sheet_of_given_photos(tmp_path: Path, style_path: Path) -> None:
    save_photo(np.full((40, 60, 3), 0.3, np.float32), tmp_path / "photo.png")
    jobs = [Job((f"w={weight}",), style_path) for weight in (1, 2, 3)]
    write_sweep_sheet(jobs, tmp_path / "sheet.png", [tmp_path / "photo.png"])
    height, width, _ = load_image(tmp_path / "sheet.png").shape
    assert (height, width) == (8 + 20 + 8 + 320 + 8, 8 + 4 * (480 + 8))
