from __future__ import annotations

import importlib.util
import json
import platform
import tempfile
import tomllib
from pathlib import Path

import pytest
from command_help import Run, install

from fststyle import __version__
from fststyle.cli import doctor
from fststyle.errors import StyleError

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.usefixtures("folder")


def test_report_as_text(run: Run) -> None:
    done = run("doctor")
    assert (done.status, done.err) == (0, "")
    titles = [line for line in done.out.splitlines() if not line.startswith(" ")]
    assert titles == [
        *("Versions", "Packages", "Processor", "GPU", "VGG16", "Folders", "Styles", "Missing")
    ]
    assert f"fststyle  {__version__}\n" in done.out
    assert platform.python_version() in done.out


def test_report_as_json(run: Run, style_path: Path) -> None:
    install(style_path, "mine")
    report = json.loads(run("doctor", "--json").out)
    assert report["versions"]["fststyle"] == __version__
    assert report["packages"]["base"]["numpy"]
    assert "torch" in report["packages"]["train"]
    assert "torch" not in report["packages"]["base"]
    assert report["processor"]["threads"] >= 1
    assert report["processor"]["openvino_precision"]
    assert report["styles"]["networks"] == 1
    assert report["folders"]["user_styles"].endswith("(can be written)")


def test_all_extras_of_users_are_examined() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = set(project["optional-dependencies"]) - {"test", "docs"}
    assert extras == set(doctor._RUNTIME_EXTRAS)


def test_missing_packages_have_a_line_to_type(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    packages = {"base": {"numpy": "2.0"}, "web": {"fastapi": None, "uvicorn": "1.0"}}
    monkeypatch.setattr(doctor, "_packages", lambda: packages)
    monkeypatch.setattr(doctor, "install_line", lambda extra: f"install {extra}")
    done = run("doctor")
    assert done.out.endswith("Missing\n  fastapi (extra web): install web\n")
    assert json.loads(run("doctor", "--json").out)["missing"] == [
        "fastapi (extra web): install web"
    ]


def test_nothing_is_missing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_packages", lambda: {"base": {"numpy": "2.0"}})
    assert run("doctor").out.endswith("Missing\n  nothing\n")


def test_without_torch(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    report = json.loads(run("doctor", "--json").out)
    assert report["gpu"] == "cannot be found without torch"
    assert "extra train" in report["vgg16"]


def test_instructions_of_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "model name\t: A fast one\nflags\t\t: fpu avx2 avx512f amx_tile amx_bf16\n"
    monkeypatch.setattr(doctor, "_cpuinfo", lambda: text)
    assert doctor._processor_name() == "A fast one"
    assert doctor._matrix_instructions() == ["AMX", "AMX bf16", "AVX-512", "AVX2"]
    monkeypatch.setattr(doctor, "_cpuinfo", lambda: "")  # as on macOS and Windows
    assert doctor._processor_name()
    assert doctor._matrix_instructions() == []


def test_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor._access(tmp_path) == "can be written"
    assert doctor._access(tmp_path / "a" / "b") == "does not exist yet, can be written"

    def refuse(**_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", refuse)
    assert doctor._access(tmp_path) == "cannot be written"


def test_damage_does_not_stop_the_report(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("no plugin")

    def no_styles() -> None:
        raise StyleError("The zoo is damaged.")

    monkeypatch.setattr("fststyle.openvino_core.openvino_core", broken)
    monkeypatch.setattr(doctor, "list_styles", no_styles)
    done = run("doctor", "--json")
    assert done.status == 0
    report = json.loads(done.out)
    assert report["processor"]["openvino_precision"] == "cannot be found: no plugin"
    assert report["styles"] == {"error": "The zoo is damaged."}
