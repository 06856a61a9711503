"""What goes into the wheel and the source distribution."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from script_help import ROOT

pytestmark = pytest.mark.needs("hatchling")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[set[str], set[str]]:
    """The names in a wheel and in a source distribution of this tree, with a zoo of one."""
    tree = tmp_path_factory.mktemp("tree")
    skipped = shutil.ignore_patterns("__pycache__", "*.safetensors")
    for name in ("configs", "fststyle", "scripts"):
        shutil.copytree(ROOT / name, tree / name, ignore=skipped)
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore", "train.py"):
        if (ROOT / name).is_file():
            shutil.copy(ROOT / name, tree)
    (tree / "fststyle" / "zoo").mkdir(exist_ok=True)
    (tree / "fststyle" / "zoo" / "tiny.onnx").write_bytes(b"a network")
    (tree / "docs").mkdir()
    (tree / "docs" / "gallery.md").touch()
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(tree / "built")]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
    subprocess.run(command, cwd=tree, env=environment, check=True, capture_output=True, timeout=300)
    (wheel,) = (tree / "built").glob("*.whl")
    (source,) = (tree / "built").glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = set(archive.namelist())
    with tarfile.open(source) as tar:
        in_source = {str(Path(*Path(name).parts[1:])) for name in tar.getnames()}
    return in_wheel, in_source


@pytest.mark.parametrize(
    "name",
    [
        "fststyle/zoo/tiny.onnx",
        "fststyle/art/thanos_poster.jpg",
        "fststyle/art/thanos_poster.json",
        "fststyle/py.typed",
        "fststyle/cli/styles.py",
        "fststyle/web/page/index.html",
        "fststyle/web/page/runner.js",
    ],
)
def test_both_hold_what_runs_need(built: tuple[set[str], set[str]], name: str) -> None:
    for names in built:
        assert name in names


def test_configs_lie_where_each_looks_for_them(built: tuple[set[str], set[str]]) -> None:
    wheel, source = built
    assert "fststyle/configs/style/painting/great_wave.yaml" in wheel
    assert "configs/style/painting/great_wave.yaml" in source


def test_source_holds_what_its_tests_need(built: tuple[set[str], set[str]]) -> None:
    _, source = built
    assert {"train.py", "scripts/zoo/train.py", "docs/gallery.md", "LICENSE"} <= source
