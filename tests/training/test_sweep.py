from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from fststyle.images.load import load_image
from fststyle.images.save import save_photo
from fststyle.training.run_folder import Run
from fststyle.training.sweep import (
    RunNote,
    SweepRun,
    labels,
    note_run,
    noted_runs,
    read_notes,
    to_install,
    write_sweep_sheet,
)


def test_labels() -> None:
    def run(*overrides: str) -> SweepRun:
        return SweepRun(overrides, Path("a.onnx"))

    actual = labels(
        [run("style=a", "w=1", "minutes=2"), run("style=a", "w=2", "minutes=2"), run("style=a")]
    )
    assert actual == ["w=1 minutes=2", "w=2 minutes=2", "a"]
    assert labels([run("style=a"), run("style=a")]) == ["a", "a"]


def test_labels_tell_what_was_interrupted() -> None:
    runs = [
        SweepRun(("w=1",), Path("a.onnx")),
        SweepRun(("w=2",), Path("a.onnx"), interrupted=True),
    ]
    assert labels(runs) == ["w=1", "w=2 (interrupted)"]


def test_only_a_style_that_was_trained_once_is_installed() -> None:
    a, b = SweepRun(("style=a",), Path("1/a.onnx")), SweepRun(("style=b",), Path("2/b.onnx"))
    assert to_install([a, b]) == ([a, b], [])
    assert to_install([a, SweepRun(("w=2",), Path("3/a.onnx")), b]) == ([b], ["a"])
    assert to_install([SweepRun((), Path("a.onnx"), installable=False)]) == ([], [])


def test_run_is_read_from_its_folder(tmp_path: Path) -> None:
    facts = {"overrides": ["style=a"], "style_file": "a.onnx", "install": True}
    with Run.new(tmp_path / "one", {}) as one, Run.new(tmp_path / "two", {}) as two:
        one.mark("running")
        assert SweepRun.read(one.folder) is None
        one.mark("finished", {**facts, "gates_passed": True})
        two.mark("interrupted", {**facts, "gates_passed": False})
    path = tmp_path / "one" / "a.onnx"
    assert SweepRun.read(tmp_path / "one") == SweepRun(("style=a",), path)
    read = SweepRun.read(tmp_path / "two")
    assert read is not None
    assert (read.interrupted, read.installable) == (True, False)
    assert SweepRun.read(tmp_path / "three") is None


NOTE = """
from fststyle.training.run_folder import Run
from fststyle.training.sweep import RunNote, note_run
note_run(1, RunNote(0, "runs/b", "runs"))
"""


def test_notes_come_from_other_processes() -> None:
    with noted_runs() as folder:
        subprocess.run([sys.executable, "-c", NOTE], check=True)
        note_run(0, RunNote(1))
        note_run(0, RunNote(130, "runs/a", "runs"))
        assert read_notes(folder) == [RunNote(130, "runs/a", "runs"), RunNote(0, "runs/b", "runs")]
    assert not folder.exists()


def test_sheet_of_given_photos(tmp_path: Path, style_path: Path) -> None:
    save_photo(np.full((40, 60, 3), 0.3, np.float32), tmp_path / "photo.png")
    runs = [SweepRun((f"w={weight}",), style_path) for weight in (1, 2, 3)]
    write_sweep_sheet(runs, tmp_path / "sheet.png", [tmp_path / "photo.png"])
    height, width, _ = load_image(tmp_path / "sheet.png").shape
    assert (height, width) == (8 + 20 + 8 + 320 + 8, 8 + 4 * (480 + 8))
