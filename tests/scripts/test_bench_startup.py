from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest
from script_help import load_script

startup = load_script("bench/startup")


def test_startup_in_pairs(
    style_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    copy = "(shutil.copytree if os.path.isdir(sys.argv[1]) else shutil.copy)(*sys.argv[1:])"
    program = f"import os, shutil, sys; {copy}"
    against = f"{shlex.quote(sys.executable)} -c {shlex.quote(program)} {{input}} {{output}}"
    options = ["--style", str(style_path), "--against", against, "--name", "copy"]
    sizes = ["--pairs", "1", "--folder-pairs", "1", "--count", "2", "--size", "32"]
    startup.main([*options, *sizes, "--records", str(tmp_path)])
    assert "| one photo, 32×32 | " in capsys.readouterr().out
    (path,) = tmp_path.glob("startup_*.json")
    record = json.loads(path.read_text())
    assert record["tables"]["startup"]["header"] == ["", "fststyle", "copy", "times as long"]
    assert set(record["values"]["folder of 2 photos"]) == {"fststyle", "copy"}


def test_row_has_the_median_ratio_of_the_pairs() -> None:
    seconds = {"fststyle": [1.0, 2.0, 1.0], "other": [2.0, 2.0, 4.0]}
    assert startup.row("one", seconds) == ["one", "1.00 s", "2.00 s", "2.00 ×"]
    many = startup.row("many", {"fststyle": [2.0]}, photos=50)
    assert many == ["many", "2.00 s (25.0 photos/s)"]


def test_command_that_fails(tmp_path: Path) -> None:
    command = f"{shlex.quote(sys.executable)} -c \"raise SystemExit('unknown option')\""
    with pytest.raises(SystemExit, match="failed with status 1: unknown option"):
        startup.run(command, tmp_path / "a", tmp_path / "b")
