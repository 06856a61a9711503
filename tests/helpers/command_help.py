"""The command line, run in the process of the tests or in its own, and files for it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from fststyle.cli import main as cli
from fststyle.styles import find


class Done(NamedTuple):
    status: int
    out: str
    err: str


Run = Callable[..., Done]


def run_command(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> Done:
    """Run ``fststyle``."""
    with pytest.raises(SystemExit) as stop:
        cli.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert isinstance(stop.value.code, int)
    return Done(stop.value.code, captured.out, captured.err)


def process(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    command = [sys.executable, "-m", "fststyle", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def assert_refused(done: Done, *expected: str) -> None:
    """Expect one sentence that contains certain words, and nothing else."""
    assert done.status == 1
    assert done.out == ""
    assert done.err.startswith("Error: ")
    assert done.err.count("\n") == 1
    for words in expected:
        assert words in done.err


def install(style_path: Path, name: str) -> Path:
    """Make a style file one of the user's styles."""
    path = find.user_styles_folder() / f"{name}.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(style_path, path)
    return path


def smooth(height: int, width: int) -> NDArray[np.float32]:
    """Make an image that resembles a photograph."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    waves = [0.5 + 0.4 * np.sin(7 * x + phase) * np.cos(5 * y - phase) for phase in (0, 0.7, 1.9)]
    return np.stack(waves, axis=2).astype(np.float32)
