"""Paths as people give them on a command line: ``~``, pipes, and names with special characters."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from command_help import Run, assert_refused, files_in, run_command, smooth

from fststyle.cli import local_files
from fststyle.files import shell_word
from fststyle.images.load import load_image
from fststyle.images.save import save_photo
from fststyle.styles.find import find_style, training_settings

posix = pytest.mark.skipif(os.name != "posix", reason="needs named pipes")
NAMES = ["Tom's cat", "a $HOME", 'a "b"', "-dash", "two\nlines", "Übung ☃", "a ${b}", "b\\", "!x"]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    save_photo(smooth(20, 30), "photo.png")
    return lambda *arguments: run_command(capsys, *arguments)


def make_pipe(name: str, data: bytes) -> str:
    """Make a named pipe from which the data can be read once."""
    os.mkfifo(name)

    def write() -> None:
        with suppress(BrokenPipeError):
            Path(name).write_bytes(data)

    threading.Thread(target=write, daemon=True).start()
    return name


@posix
def test_pipes(run: Run, style_path: Path) -> None:
    photo = Path("photo.png").read_bytes()
    save_photo(np.linspace(0, 1, 600).reshape(20, 30, 1).repeat(3, 2), "mask.png")
    mask = Path("mask.png").read_bytes()
    common = ["--style", style_path, "--mask", "mask.png"]
    assert run("stylize", "photo.png", "-o", "expected.png", *common).status == 0

    done = run(
        "stylize",
        make_pipe("photo_pipe", photo),
        *("--style", make_pipe("style_pipe", style_path.read_bytes())),
        *("--mask", make_pipe("mask_pipe", mask), "-o", "result.png"),
    )

    assert (done.status, done.err) == (0, "")
    assert Path("result.png").read_bytes() == Path("expected.png").read_bytes()
    pipes = [make_pipe("one.png", photo), make_pipe("two", photo)]
    assert run("stylize", *pipes, "-o", "out", *common).status == 0
    assert set(files_in(Path("out"))) == {"one.png", "two.png"}
    info = run("info", make_pipe("style.onnx", style_path.read_bytes()))
    assert '"name": "small"' in info.out
    sheet = run("styles", "--sheet", make_pipe("photo.jpg", b"no photo"), "-o", "sheet.png")
    assert_refused(sheet, "Cannot read photo.jpg as an image")


@posix
def test_results_in_pipes(run: Run, style_path: Path) -> None:
    os.mkfifo("result.png")
    received = []
    reader = threading.Thread(target=lambda: received.append(Path("result.png").read_bytes()))
    reader.start()

    done = run("stylize", "photo.png", "-o", "result.png", "--style", style_path)
    reader.join(60)

    assert done.status == 0
    assert run("stylize", "photo.png", "-o", "file.png", "--style", style_path).status == 0
    assert received == [Path("file.png").read_bytes()]


@posix
def test_no_temporary_folder(run: Run, style_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/missing/folder"])
    done = run("stylize", make_pipe("pipe", b"x"), "-o", "out.png", "--style", style_path)
    assert_refused(done, "/missing/folder", "TMPDIR", "temporary")


@posix
def test_temporary_folder_that_is_full(
    run: Run, style_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "small").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "small"))
    sentence = f"Error: Cannot write temporary files to {tmp_path / 'small'}: File too large"
    limit = f"ulimit -f 8; {shlex.quote(sys.executable)} -m fststyle stylize --style {style_path}"
    save_photo(np.random.default_rng(0).random((90, 90, 3)), "large.png")
    for line in ("- -o out.png < large.png", "large.png -o - | cat > out.png"):
        done = subprocess.run(
            ["bash", "-c", f"{limit} {line}"],
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "TMPDIR": str(tmp_path / "small")},
        )
        assert done.stderr.startswith(sentence)
        assert "TMPDIR" in done.stderr
        assert done.stderr.count("\n") == 1
    assert not list((tmp_path / "small").iterdir())


def test_home_folder_in_every_path(run: Run, style_path: Path, tmp_path: Path) -> None:
    Path("small.onnx").write_bytes(style_path.read_bytes())
    photo = [os.path.join("~", "photo.png"), f"--style=~{os.sep}small.onnx"]
    assert run("stylize", *photo, f"-o~{os.sep}one.png").status == 0
    done = run("stylize", *photo, f"--output=~{os.sep}two.png", f"--mask=~{os.sep}photo.png")
    assert done.status == 0
    blend = f"~{os.sep}small.onnx:1,~{os.sep}small.onnx:1"
    assert run("stylize", photo[0], f"-o~{os.sep}three.png", "--style", blend).status == 0
    assert run("stylize", "~/*.png", "--style", style_path, "-o", "~/out").status == 0
    assert run("info", f"~{os.sep}small.onnx").status == 0
    assert {path.name for path in tmp_path.iterdir()} == {
        *("photo.png", "small.onnx", "one.png", "two.png", "three.png", "out")
    }
    assert load_image("one.png").shape == (20, 30, 3)
    Path("~").mkdir()
    assert local_files.with_home("~") == "~"  # a file with this name


@posix
@pytest.mark.parametrize("name", NAMES)
def test_printed_commands_can_be_pasted(run: Run, style_path: Path, name: str) -> None:
    save_photo(smooth(8, 8), f"./{name}.png")
    photo = ["stylize", "photo.png", "-o", "o.png", "--style", f"./{name}.png"]
    for refused, command in (
        (run(*photo, "--scale", "2"), "train one: fststyle"),
        (run("export", style_path, "-o", f"./{name}.x", "--format", "onnx"), "Use -o"),
    ):
        assert refused.status == 1
        text = refused.err[refused.err.index(f"{command} ") + len(command) :].rstrip("\n")
        shell = f'fststyle() {{ printf "%s\\0" "$@"; }}; fststyle {text}'
        pasted = subprocess.run(["bash", "-c", shell], capture_output=True, check=True)
        words = pasted.stdout.decode().split("\0")[:-1]
        if command == "Use -o":
            assert words == [f"./{name}.onnx" if name.startswith("-") else f"{name}.onnx"]
            continue
        check_training(words, f"{name}.png")


def check_training(words: list[str], path: str) -> None:
    """Check that Hydra understands the settings after ``fststyle train``."""
    parser = pytest.importorskip("hydra.core.override_parser.overrides_parser")
    from omegaconf import OmegaConf

    assert words[0] == "train"
    overrides = parser.OverridesParser.create().parse_overrides(words[1:])
    config = OmegaConf.create({o.key_or_group.partition(".")[2]: o.value() for o in overrides})
    assert Path(config.image) == Path(path)
    assert find_style(f"./{path}").kind == "picture"
    assert training_settings(find_style(f"./{path}")).endswith(f"style.name={config.name}")


def test_shell_word() -> None:
    assert shell_word("photo.jpg") == "photo.jpg"
    assert shell_word("-photo.jpg") == "./-photo.jpg"
    assert shell_word("my photo's.jpg") == '"my photo\'s.jpg"'
