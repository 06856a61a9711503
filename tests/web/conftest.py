from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def styles(tmp_path: Path, style_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the user's styles, with one in it."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    folder = tmp_path / "data" / "fststyle" / "styles"
    folder.mkdir(parents=True)
    shutil.copy(style_path, folder / "small.onnx")
    return folder
