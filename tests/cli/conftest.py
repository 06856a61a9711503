from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from command_help import Done, Run, run_command, smooth

from fststyle.cli import styles as styles_command
from fststyle.images.save import save_photo
from fststyle.styles import find

if TYPE_CHECKING:
    from fststyle.perceptual.vgg import VGGWeights


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command line in this process, with an empty zoo."""
    for module in (find, styles_command):
        monkeypatch.setattr(module, "zoo_folder", lambda: tmp_path / "zoo")

    def run_(*arguments: str | Path) -> Done:
        return run_command(capsys, *arguments)

    return run_


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, without the user's own styles and weights."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home" / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home" / "cache"))
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def narrow(narrow_weights: VGGWeights, monkeypatch: pytest.MonkeyPatch) -> None:
    """Optimise with the narrow VGG16."""
    from fststyle.perceptual import vgg_weights

    def load(architecture: str, path: object = None) -> VGGWeights:
        assert architecture == "vgg16"
        return narrow_weights

    monkeypatch.setattr(vgg_weights, "load_weights", load)


@pytest.fixture
def photo(folder: Path) -> Path:
    path = folder / "photo.png"
    save_photo(smooth(30, 48), path)
    return path


@pytest.fixture
def style_image(folder: Path) -> Path:
    path = folder / "picture.png"
    save_photo(smooth(40, 44)[:, :, ::-1].round(), path)
    return path
