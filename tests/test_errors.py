from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fststyle.errors import SettingError, require_packages
from fststyle.styles.find import art_folder

PICTURE = str(art_folder() / "ink_wash.jpg")


def test_require_packages() -> None:
    require_packages("json", "numpy")
    with pytest.raises(SettingError, match="This needs no_such_one and nor_this, which"):
        require_packages("no_such_one", "json", "nor_this")


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "style=thanos_poster"],
        ["optimize", "photo.png", "--style", "ink_wash", "-o", "out.png"],
        ["stylize", "photo.png", "--style", PICTURE, "-o", "out.png"],
        ["evaluate", "photo.png", "--style", "thanos_poster"],
    ],
)
def test_commands_without_torch(arguments: list[str], tmp_path: Path) -> None:
    program = (
        "import importlib.util, sys\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name: None if name == 'torch' else find(name)\n"
        "from fststyle.cli.main import main; main(sys.argv[1:])"
    )
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: This needs torch, which ")
    assert done.stderr.count("\n") == 1
