from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from networks import random_weights

from fststyle.cli.main import main
from fststyle.styles.style_file import read_style


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    assert isinstance(stop.value.code, int)
    return stop.value.code


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "candy.pth"
    torch.save(random_weights("pytorch", width=4, trunk=8, blocks=1), path)
    return path


def test_import(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "candy.onnx"
    words = {"title": "Candy", "artist": "N. N.", "licence": "CC0", "source": "example.org"}
    options = [word for key, value in words.items() for word in (f"--{key}", value)]
    assert run("import", checkpoint, "-o", output, *options) == 0
    style = read_style(output)
    network, info = style.network, style.info
    assert network.linear_output == 1
    assert info.name == "candy"
    assert {key: getattr(info, key) for key in words} == words
    assert info.training["imported_from"] == "pytorch/examples"
    assert info.training["checkpoint"] == "candy.pth"
    assert "4 filters, 1 residual blocks of 8" in capsys.readouterr().out


def test_imported_name(checkpoint: Path, tmp_path: Path) -> None:
    assert run("import", checkpoint, "-o", tmp_path / "a.onnx", "--name", "sweet") == 0
    assert read_style(tmp_path / "a.onnx").info.name == "sweet"


@pytest.mark.parametrize(
    ("output", "more", "said"),
    [
        ("candy.pth", [], "extension .onnx"),
        ("Candy Box.onnx", [], "not a valid name"),
        ("a.onnx", ["--name", "A"], "not a valid name"),
        ("a.onnx", ["--title", "a\nb"], "single lines"),
    ],
)
def test_impossible_imports(
    output: str,
    more: list[str],
    said: str,
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = checkpoint.read_bytes()
    assert run("import", checkpoint, "-o", tmp_path / output, *more) == 1
    assert said in capsys.readouterr().err
    assert checkpoint.read_bytes() == before
    assert list(tmp_path.iterdir()) == [checkpoint]


def test_export(style_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out.onnx"
    options = ["--size", "13x22", "--precision", "float16", "--opset", "17", "--format", "onnx"]
    assert run("export", style_path, "-o", output, *options) == 0
    assert onnx.load(output).opset_import[0].version == 17
    printed = capsys.readouterr().out
    assert str(output) in printed
    assert "Difference from small at 13x22 (of 255): mean 0." in printed


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-o", "out.onnx", "--format", "openvino"], "-o out.xml"),
        (["-o", "out.txt"], ".onnx, or .xml"),
    ],
)
def test_impossible_exports(
    options: list[str], said: str, style_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("export", style_path, *options) == 1
    assert said in capsys.readouterr().err


def test_only_networks_are_exported(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("export", "no_such_style", "-o", "out.onnx") == 1
    assert "no_such_style" in capsys.readouterr().err


@pytest.mark.parametrize("size", ["13", "0x5", "5x", "axb", "-5x5", "5x100000"])
def test_sizes_are_checked(size: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("export", "a", "-o", "out.onnx", f"--size={size}") == 2
    assert "height and width" in capsys.readouterr().err
