from __future__ import annotations

import importlib.metadata
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from errors_help import raises
from script_help import ROOT

from fststyle.cli import extras
from fststyle.cli.extras import install_line, require_packages
from fststyle.errors import SettingError
from fststyle.styles.find import art_folder

STYLE_IMAGE = str(art_folder() / "ink_wash.jpg")


def test_require_packages() -> None:
    require_packages("train", "json", "numpy")
    with raises(SettingError, "missing_package", "no_such_one and nor_this") as caught:
        require_packages("train", "no_such_one", "json", "nor_this")
    assert caught.value.details == {"packages": ["no_such_one", "nor_this"], "extra": "train"}


@pytest.mark.parametrize(
    ("missing", "extra", "arguments"),
    [
        ("torch", "train", ["train", "style=thanos_poster"]),
        ("torch", "train", ["optimize", "photo.png", "--style", "ink_wash", "-o", "out.png"]),
        ("torch", "train", ["stylize", "photo.png", "--style", STYLE_IMAGE, "-o", "out.png"]),
        ("torch", "train", ["evaluate", "photo.png", "--style", "thanos_poster"]),
        ("torch", "train", ["import", "candy.pth", "-o", "candy.onnx"]),
        (
            "torch",
            "train",
            [*("stylize", "a.png", "--style", "ink_wash", "-o", "b.png"), "--device", "cuda"],
        ),
        ("av", "video", ["video", "video.mp4", "--style", "ink_wash", "-o", "out.mp4"]),
        ("cv2", "video", ["video", "video.mp4", "--style", "ink_wash", "-o", "out.mp4"]),
        *(
            (
                missing,
                "subject",
                [*("stylize", "a.png", "--style", "great_wave", "-o", "b.png"), "--subject", "0.5"],
            )
            for missing in ("rembg", "onnxruntime")
        ),
        ("uvicorn", "web", ["serve"]),
    ],
)
def test_commands_without_a_package(
    missing: str, extra: str, arguments: list[str], tmp_path: Path
) -> None:
    # No input exists: the packages are looked for before the inputs.
    program = (
        "import importlib.util, sys\n"
        "find = importlib.util.find_spec\n"
        f"importlib.util.find_spec = lambda name: None if name == {missing!r} else find(name)\n"
        f"sys.modules[{missing!r}] = None\n"
        "from fststyle.cli.main import main; main(sys.argv[1:])"
    )
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: This needs ")
    assert missing in done.stderr.partition(" not installed. ")[0]
    assert done.stderr.endswith(f"{install_line(extra)}\n")
    assert done.stderr.count("\n") == 1


def test_training_script_without_torch(tmp_path: Path) -> None:
    program = (
        "import importlib.util, runpy, sys\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name: None if name == 'torch' else find(name)\n"
        f"sys.argv = ['train.py']; runpy.run_path({str(ROOT / 'train.py')!r}, run_name='__main__')"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: This needs torch")
    assert done.stderr.endswith(f"{install_line('train')}\n")
    assert done.stderr.count("\n") == 1


@pytest.fixture
def origin(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Set what pip has noted about where fststyle was installed from."""

    def set_origin(note: object) -> None:
        class Distribution:
            def read_text(self, name: str) -> str | None:
                assert name == "direct_url.json"
                return None if note is None else json.dumps(note)

        monkeypatch.setattr(importlib.metadata, "distribution", lambda name: Distribution())

    return set_origin


def test_line_fits_the_installation(origin: Any, tmp_path: Path) -> None:
    origin(None)  # from an index
    assert install_line("web") == 'pip install "fststyle[web]"'
    folder = tmp_path / "my clone"
    note = {"url": folder.as_uri(), "dir_info": {"editable": True}}
    origin(note)  # the clone has been deleted
    assert install_line("web") == 'pip install "fststyle[web]"'
    folder.mkdir()
    assert install_line("web") == f'pip install -e "{folder}[web]"'
    origin({"url": folder.as_uri(), "dir_info": {}})
    assert install_line("web") == f'pip install "{folder}[web]"'
    origin({"url": "https://example.org/fststyle.git", "vcs_info": {"vcs": "git"}})
    assert install_line("web") == 'pip install "fststyle[web]"'


@pytest.mark.skipif(sys.platform == "win32", reason="quotes differ there")
def test_line_is_quoted_for_a_shell(origin: Any, tmp_path: Path) -> None:
    folder = tmp_path / "it's $HOME"
    folder.mkdir()
    origin({"url": folder.as_uri(), "dir_info": {"editable": True}})
    assert shlex.split(install_line("web")) == ["pip", "install", "-e", f"{folder}[web]"]


def test_every_extra_that_is_named_exists() -> None:
    known = set(importlib.metadata.metadata("fststyle").get_all("Provides-Extra") or [])
    assert {"train", "web", "video", "heif", "int8", "subject", "test", "docs"} <= known


@pytest.mark.needs("hatchling")
@pytest.mark.network
def test_line_can_be_installed(tmp_path: Path) -> None:
    """Have pip resolve the line that a clone prints, without installing anything."""
    line = shlex.split(install_line("web"))
    assert line[:2] == ["pip", "install"]
    report = tmp_path / "report.json"
    options = ["--dry-run", "--quiet", "--report", str(report)]
    command = [sys.executable, "-m", *line[:2], *options, *line[2:]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if "No matching distribution" in done.stderr or "connection" in done.stderr.lower():
        pytest.skip("the package index cannot be reached")
    assert done.returncode == 0, done.stderr
    installs = json.loads(report.read_text())["install"]
    assert "fststyle" in [item["metadata"]["name"] for item in installs]


def test_packages_are_listed_as_in_a_sentence() -> None:
    assert extras._listed(["a"]) == "a"
    assert extras._listed(["a", "b", "c"]) == "a, b and c"
