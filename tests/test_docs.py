"""The examples of README.md, of the documentation and of docstrings, run as a reader would."""

from __future__ import annotations

import argparse
import doctest
import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from command_help import run_command
from PIL import Image
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser
from training_help import compose

import fststyle
from fststyle import transforms
from fststyle.cli.main import main
from fststyle.styles.find import art_folder, zoo_folder

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHELL = re.compile(r"^```(?:bash|sh|shell)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# Quick, and in need of nothing but the files of `folder`. The others are only parsed.
RUN = ("stylize", "styles", "info", "export")
SLOW = ("int8", "--subject", "--style mine", "--style my.jpg")
# Programs that are not ours, and commands that are tested elsewhere.
NOT_RUN = {"curl", "mkdocs", "pytest", ".ci/run", "scripts/check"}

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL


# Codes of bugs and of calls that only programs make, and the defaults of classes.
UNDOCUMENTED = {
    *("internal", "usage", "command", "error", "refused", "style", "training", "video"),
    *("bad_shape", "no_layers", "normalised_other_weights"),
    *("repeated", "size_differs", "unknown_key", "unknown_layer", "unknown_loss"),
}


class Line(NamedTuple):
    """A command of a page."""

    page: str
    text: str

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text, comments=True)

    def __str__(self) -> str:
        return f"{self.page}: {' '.join(self.words)[:60]}"


def shell_lines() -> list[Line]:
    """List the commands of all pages; those joined by ``&&`` one by one."""
    lines = []
    for page in PAGES:
        for block in SHELL.findall(page.read_text(encoding="utf-8")):
            for line in block.replace("\\\n", " ").splitlines():
                for part in re.split(r"&& ", line):
                    if shlex.split(part, comments=True):
                        lines.append(Line(page.relative_to(ROOT).as_posix(), part.strip()))
    return lines


LINES = shell_lines()
OURS = [line for line in LINES if line.words[0] == "fststyle" or "| fststyle" in line.text]
TRAININGS = [
    line for line in LINES if line.words[:2] in (["python", "train.py"], ["fststyle", "train"])
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the files that the examples name."""
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    photo, mask = Image.fromarray(noise), Image.fromarray(noise[..., 0])
    (tmp_path / "photos" / "holiday").mkdir(parents=True)
    for name in ("photo.jpg", "photo1.jpg", "photo2.jpg", "photos/a.jpg", "photos/holiday/b.jpg"):
        photo.save(tmp_path / name)
    mask.save(tmp_path / "mask.png")
    shutil.copy(art_folder() / "ink_wash.jpg", tmp_path / "my.jpg")
    shutil.copy(zoo_folder() / "great_wave.onnx", tmp_path / "candy.onnx")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path


# Pages


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_python_blocks(page: Path, folder: Path) -> None:
    for example in Sybil(parsers=[PythonCodeBlockParser()]).parse(page).examples():
        example.evaluate()


def test_pages_have_commands() -> None:
    assert len(OURS) > 20
    assert len(TRAININGS) > 5


@pytest.mark.parametrize("line", LINES, ids=str)
def test_commands_are_known(line: Line) -> None:
    program, *arguments = line.words
    if line in OURS or line in TRAININGS or program in NOT_RUN:
        return
    if program == "pip":
        assert_extras_exist(line.text)
    elif program == "OMP_NUM_THREADS=1" or arguments[0].startswith("scripts/"):
        assert_script_takes(line)
    else:
        raise AssertionError(line.text)


def assert_extras_exist(text: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for extras in re.findall(r"\[([\w,]+)\]", text):
        assert set(extras.split(",")) <= set(project["optional-dependencies"])


def assert_script_takes(line: Line) -> None:
    """Check that a script exists, and that each option is written in it or in its neighbours."""
    (script,) = [ROOT / word for word in line.words if word.startswith("scripts/")][:1]
    assert script.is_file()
    text = "".join(path.read_text(encoding="utf-8") for path in script.parent.glob("*.py"))
    for option in [word for word in line.words if re.match(r"--?[a-z]", word) and word != "-c"]:
        assert f'"{option}"' in text


class _Parsed(Exception):
    pass


@pytest.mark.parametrize("line", OURS, ids=str)
def test_commands_are_parsed(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    parse = argparse.ArgumentParser.parse_args

    def stop(self: argparse.ArgumentParser, *arguments: Any) -> None:
        parse(self, *arguments)
        raise _Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    words = line.words[line.words.index("fststyle") + 1 :]
    with pytest.raises(_Parsed):
        main(words[: words.index(">")] if ">" in words else words)


def quick_lines() -> list[Line]:
    """List one line of each text that can be run here."""
    quick = {
        line.text: line
        for line in OURS
        if line.words[line.words.index("fststyle") + 1] in RUN
        and not any(slow in line.text for slow in SLOW)
    }
    return list(quick.values())


@pytest.mark.parametrize("line", quick_lines(), ids=str)
def test_commands_run(line: Line, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if "|" in line.text:
        run_in_shell(line, folder)
        return
    done = run_command(capsys, *line.words[1:])
    assert done.status == 0, done.err


def run_in_shell(line: Line, folder: Path) -> None:
    if shutil.which("bash") is None:
        pytest.skip("there is no bash on this machine")
    program = folder / "bin" / "fststyle"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m fststyle "$@"\n')
    program.chmod(0o755)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment["PATH"] = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    command = ["bash", "-o", "pipefail", "-c", line.text]
    done = subprocess.run(command, env=environment, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("line", TRAININGS, ids=str)
def test_trainings_are_composed(line: Line) -> None:
    overrides = [word for word in line.words[2:] if word != "-m"]
    if "-m" in line.words:
        # The first of the values that a sweep tries.
        overrides = [
            override.replace("glob(*)", "ink_wash").split(",")[0] for override in overrides
        ]
    cfg = compose(*overrides, "output_dir=run")
    assert cfg.style.name


# Docstrings


def modules_with_examples() -> list[str]:
    package = Path(fststyle.__file__).parent
    return sorted(
        "fststyle." + ".".join(path.relative_to(package).with_suffix("").parts)
        for path in package.rglob("*.py")
        if ">>> " in path.read_text(encoding="utf-8")
    )


@pytest.mark.parametrize("name", modules_with_examples())
def test_docstring_examples(name: str, folder: Path) -> None:
    module = importlib.import_module(name.removesuffix(".__init__"))
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for test in doctest.DocTestFinder().find(module):
        runner.run(test, out=report.append)
    assert runner.failures == 0, "".join(report)


def public_objects() -> Iterator[str]:
    """Name every object that users are shown."""
    yield from (f"fststyle.{name}" for name in fststyle.__all__ if name != "__version__")
    for name, item in vars(transforms).items():
        if getattr(item, "__module__", "") == transforms.__name__ and not name.startswith("_"):
            yield f"{transforms.__name__}.{name}"
    for page in sorted((ROOT / "docs" / "api").glob("*.md")):
        yield from re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("name", sorted(set(public_objects())))
def test_public_objects_have_examples(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    item = getattr(importlib.import_module(module), attribute)
    tests = doctest.DocTestFinder().find(item, name)
    assert any(test.examples for test in tests)


def test_codes_of_the_troubleshooting_page_exist() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\| ((?:`[a-z_]+`(?:, )?)+) \|", page, re.MULTILINE)
    codes = {code for cell in cells for code in re.findall("`(.*?)`", cell)}
    package = Path(fststyle.__file__).parent
    source = "".join(path.read_text(encoding="utf-8") for path in package.rglob("*.py"))
    assert codes
    assert [code for code in sorted(codes) if f'"{code}"' not in source] == []
    raised = set(re.findall(r'(?:code=|default_code = )"([a-z_]+)"', source))
    assert sorted(raised - codes - UNDOCUMENTED) == []


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150
