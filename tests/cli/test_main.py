from __future__ import annotations

import dataclasses
import errno
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from command_help import Done, Run, assert_refused, files_in, install, process, smooth

from fststyle import __main__ as program
from fststyle import __version__
from fststyle.cli import main as cli
from fststyle.cli import optimize as optimize_command
from fststyle.cli import optimize_photo
from fststyle.cli import styles as styles_command
from fststyle.images.load import load_image, load_photo
from fststyle.images.resize import resize
from fststyle.images.save import save_photo
from fststyle.perceptual import vgg_weights
from fststyle.perceptual.optimize import OptimizeConfig, optimize_config
from fststyle.perceptual.vgg import VGGWeights
from fststyle.styles.network import TransformerNet
from fststyle.stylize import file_stylizer
from fststyle.stylize.stylizer import Stylizer

pytestmark = pytest.mark.usefixtures("folder")

HEAVY = {
    *("hydra", "http.client", "matplotlib", "openvino.tools.ovc", "pytorch_lightning", "scipy"),
    *("skimage", "torch", "torchvision"),
}


def test_command_is_installed() -> None:
    (command,) = importlib.metadata.entry_points(group="console_scripts", name="fststyle")
    assert command.load() is program.main


def test_version(run: Run) -> None:
    assert run("--version") == (0, f"fststyle {__version__}\n", "")


def test_help_names_every_command(run: Run) -> None:
    done = run("--help")
    assert done.status == 0
    for command in ("stylize", "optimize", "evaluate", "styles", "info", "train", "serve"):
        assert f"\n    {command} " in done.out
        assert run(command, "--help").status == 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "required: COMMAND"),
        (["paint"], "invalid choice: 'paint'"),
        (["stylize"], "required: INPUT, --style, -o"),
        (["stylize", "a.png", "--style", "b", "-o", "c.png", "--size", "0"], "--size: must be a"),
        (
            ["stylize", "a.png", "--style", "b", "-o", "c.png", "--size", "1.5"],
            "or full, not '1.5'",
        ),
        (["stylize", "a.png", "--style", "b", "-o", "c.png", "--device", "x"], "choice: 'x'"),
        (["optimize", "a.png", "--style", "b", "-o", "c.png", "--size", "0"], "or full, not '0'"),
        (["optimize", "a.png", "--style", "b", "-o", "c.png", "--iterations", "-3"], "from 1"),
        (["optimize", "a.png", "--style", "b", "-o", "c.png", "--save-every", "0"], "from 1"),
        (["optimize", "a.png", "--style", "b", "-o", "c.png", "--seed", "x"], "from 0, not 'x'"),
        (["optimize", "a.png", "--style", "b", "-o", "c.png", "--seed", str(2**70)], "from 0"),
        (["optimize", "a.png", "--style", "b", "-o", "c.png", "--style-sizes", "9,x"], "not 'x'"),
        (["optimize", "a.png", "--style", "b", "-o", "c.png", "--style-weight", "x"], "float"),
        (
            ["optimize", "a.png", "--style", "b", "-o", "c.png", "--style-layers", "relu1_2:x"],
            "such as relu1_2,relu3_3:2, not 'relu1_2:x'",
        ),
        (["evaluate", "--style", "a"], "required: PHOTO"),
    ],
)
def test_wrong_usage_exits_2(run: Run, arguments: list[str], expected: str) -> None:
    done = run(*arguments)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("usage: fststyle")
    assert expected in done.err
    assert "_" not in done.err.splitlines()[-1].partition("relu")[0]  # no name of a function


def test_processes_exit_with_0_1_and_2(photo: Path, style_path: Path) -> None:
    done = process("stylize", photo, "--style", style_path, "-o", "out.png")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("out.png  48×30  small  ")
    assert done.stdout.count("\n") == 1
    refused = process("stylize", photo, "--style", "no_such", "-o", "out2.png")
    assert_refused(Done(refused.returncode, refused.stdout, refused.stderr), "'no_such'")
    wrong = process("stylize", photo)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "Traceback" not in wrong.stderr
    assert not Path("out2.png").exists()


def test_bugs_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(styles_command, "list_styles", broken)
    with pytest.raises(ZeroDivisionError):
        cli.main(["styles"])


def test_ctrl_c_exits_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(styles_command, "list_styles", interrupted)
    assert run("styles") == (130, "", "Interrupted.\n")


@pytest.mark.skipif(os.name != "posix", reason="pipes are closed otherwise there")
def test_a_reader_that_leaves_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "fststyle", "styles"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_stylising_loads_nothing_heavy(photo: Path, style_path: Path) -> None:
    program = (
        "import sys; from fststyle.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\n"
        f"except SystemExit as stop:\n    print(stop.code, sorted({HEAVY} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", program, "stylize", str(photo), "--style", str(style_path)]
    command += ["-o", "out.png", "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"


@pytest.mark.parametrize("command", ["stylize", "optimize"])
def test_photo_is_not_replaced(run: Run, photo: Path, style_path: Path, command: str) -> None:
    before = photo.read_bytes()
    done = run(command, photo, "--style", style_path, "-o", f"./{photo.name}")
    assert (done.status, done.out) == (1, "")
    assert "The result would replace" in done.err
    assert photo.read_bytes() == before


def test_names_that_a_terminal_cannot_show(photo: Path, style_path: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = process("stylize", photo, "--style", style_path, "-o", "ü.png", env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert Path("ü.png").is_file()


def no_photo(path: object) -> None:
    raise AssertionError("the photo was read before output and style were checked")


@pytest.mark.parametrize("command", ["stylize", "optimize"])
@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("out", "extension"),
        ("out.xyz", ".png"),
        ("missing/out.png", "the folder missing does not exist"),
        ("photo.png/out.png", "not a folder"),
        ("folder.png", "is a folder"),
    ],
)
def test_bad_outputs(
    run: Run, command: str, output: str, expected: str, photo: Path, style_path: Path, folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (folder / "folder.png").mkdir()
    for module in (optimize_command, file_stylizer):
        monkeypatch.setattr(module, "load_photo", no_photo)
    before = files_in(folder)
    assert_refused(run(command, photo, "--style", style_path, "-o", output), expected)
    assert files_in(folder) == before
    assert not (folder / "missing").exists()


def newer(path: Path) -> None:
    model = onnx.load(path)
    for item in model.metadata_props:
        if item.key == "format_version":
            item.value = "99"
    onnx.save(model, path)


@pytest.mark.parametrize("command", ["stylize", "optimize", "info", "evaluate"])
@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:2000]), "style.onnx"),
        (lambda path: path.write_bytes(b"foreign" * 100), "style.onnx"),
        (lambda path: path.write_bytes(b""), "style.onnx"),
        (newer, "newer version of fststyle"),
        (Path.unlink, "The file style.onnx does not exist"),
    ],
    ids=["truncated", "foreign", "empty", "newer", "missing"],
)
def test_bad_style_files(
    run: Run, command: str, spoil: Callable[[Path], None], expected: str, photo: Path,
    style_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    shutil.copy(style_path, "style.onnx")
    spoil(Path("style.onnx"))
    for module in (optimize_command, file_stylizer):
        monkeypatch.setattr(module, "load_photo", no_photo)
    before = files_in(folder)
    arguments: dict[str, list[str | Path]] = {
        "info": ["style.onnx"],
        "evaluate": [photo, "--style", "style.onnx", "-o", folder],
    }
    default: list[str | Path] = [photo, "--style", "style.onnx", "-o", "out.png"]
    assert_refused(run(command, *arguments.get(command, default)), expected)
    assert files_in(folder) == before


@pytest.mark.parametrize("command", ["stylize", "optimize", "evaluate"])
def test_unknown_styles(
    run: Run, command: str, photo: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (optimize_command, file_stylizer):
        monkeypatch.setattr(module, "load_photo", no_photo)
    output = folder if command == "evaluate" else Path("out.png")
    near = run(command, photo, "--style", "thanos_postr", "-o", output)
    assert_refused(near, "'thanos_postr'", "did you mean thanos_poster?")
    assert_refused(run(command, photo, "--style", "qqq", "-o", output), "fststyle styles")
    assert_refused(run(command, photo, "--style", "no.png", "-o", output), "no.png")
    assert_refused(run(command, photo, "--style", "a.txt", "-o", output), ".onnx")


@pytest.mark.parametrize("command", ["stylize", "optimize", "stylize_picture", "evaluate"])
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("missing.jpg", "missing.jpg does not exist"),
        ("truncated.png", "damaged or incomplete"),
        ("text.jpg", "as an image"),
        ("empty.jpg", "empty"),
        ("here", "folder"),
    ],
)
def test_bad_photos(
    run: Run, command: str, name: str, expected: str, photo: Path, style_image: Path,
    style_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    Path("here").mkdir()
    Path("truncated.png").write_bytes(photo.read_bytes()[:300])
    Path("text.jpg").write_text("Once upon a time")
    Path("empty.jpg").touch()
    before = files_in(folder)
    if command == "evaluate":
        done = run(command, name, "--style", style_path, "--picture", style_image)
    else:
        style = style_path if command == "stylize" else style_image
        done = run(command.partition("_")[0], name, "--style", style, "-o", "out.png")
    assert_refused(done, expected)
    assert files_in(folder) == before


def test_stylize_with_a_style_file(run: Run, photo: Path, style_path: Path) -> None:
    done = run("stylize", photo, "--style", style_path, "-o", "out.png")
    assert (done.status, done.err) == (0, "")
    expected = Stylizer(style_path, device="cpu")(load_image(photo))
    np.testing.assert_allclose(load_image("out.png"), expected, atol=0.51 / 255)


def test_stylize_by_name_from_another_folder(
    run: Run, photo: Path, style_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(style_path, "mine")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    done = run("stylize", photo, "--style", "mine", "-o", "out.jpg", "--threads", "1")
    assert (done.status, done.err) == (0, "")
    assert load_image(elsewhere / "out.jpg").shape == (30, 48, 3)


@pytest.mark.parametrize(("size", "expected"), [(24, (15, 24)), (480, (30, 48))])
def test_stylize_at_a_size(
    run: Run, photo: Path, style_path: Path, size: int, expected: tuple[int, int]
) -> None:
    run("stylize", photo, "--style", style_path, "-o", "out.png", "--size", str(size))
    assert load_image("out.png").shape[:2] == expected


def test_stylize_keeps_transparency(run: Run, style_path: Path) -> None:
    alpha = smooth(20, 30)[:, :, 0]
    save_photo(smooth(20, 30), "in.png", alpha=alpha)
    assert run("stylize", "in.png", "--style", style_path, "-o", "out.png").status == 0
    actual = load_photo("out.png").alpha
    assert actual is not None
    np.testing.assert_allclose(actual, alpha, atol=0.51 / 255)


@pytest.mark.parametrize("style", ["thanos_poster", "picture.png"])
def test_stylize_without_a_network_optimises(
    run: Run,
    photo: Path,
    style_image: Path,
    style: str,
    original_weights: VGGWeights,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    configs = []

    def quick(preset: str, **overrides: Any) -> OptimizeConfig:
        configs.append(optimize_config(preset, **overrides))
        return OptimizeConfig(iterations=1)

    monkeypatch.setattr(vgg_weights, "load_weights", lambda *_: original_weights)
    monkeypatch.setattr(optimize_photo, "optimize_config", quick)
    done = run("stylize", photo, "--style", style, "-o", "out.png", "--size", "32")
    assert done.status == 0
    assert configs == [OptimizeConfig()]
    why = "is an image, not a trained style" if "." in style else "has no trained network yet"
    training = "image=picture.png style.name=picture" if "." in style else "thanos_poster"
    assert done.err.startswith(f"{style} {why}, so this photo is optimised")
    assert f"fststyle train style{'.' if '.' in style else '='}{training}" in done.err
    assert done.out.splitlines()[-1] == "out.png  32×20"
    before = resize(load_image(photo), width=32, height=20)
    after = load_image("out.png")
    assert after.shape == before.shape
    assert np.abs(after - before).max() > 4 / 255


@pytest.mark.parametrize("stage", ["write", "replace"])
def test_disk_that_fills_while_writing(
    run: Run, stage: str, photo: Path, style_path: Path, folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    write_bytes = Path.write_bytes

    def half(path: Path, data: bytes) -> int:
        write_bytes(path, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    save_photo(smooth(8, 8), "out.png")
    before = files_in(folder)
    with monkeypatch.context() as patch:
        if stage == "write":
            patch.setattr(Path, "write_bytes", half)
        else:
            patch.setattr(os, "replace", refuse)
        done = run("stylize", photo, "--style", style_path, "-o", "out.png")
    assert_refused(done, "No space left", "Free some space")
    assert files_in(folder) == before


def test_styles_are_listed(run: Run, style_path: Path) -> None:
    install(style_path, "mine")
    install(style_path, "ink_wash")
    done = run("styles")
    assert (done.status, done.err) == (0, "")
    lines = {line.split()[0]: line for line in done.out.splitlines()}
    assert lines["mine"].split()[1] == "own"
    assert lines["mine"].endswith("A small one")
    assert lines["ink_wash"].split()[1] == "own"
    assert lines["thanos_poster"].split()[1:3] == ["picture", "only"]


def test_info(run: Run, style_path: Path, style_image: Path, small_network: TransformerNet) -> None:
    trained = json.loads(run("info", style_path).out)
    assert trained["kind"] == "network"
    assert trained["network"] == dataclasses.asdict(small_network.config)
    assert (trained["name"], trained["title"]) == ("small", "A small one")
    artwork = json.loads(run("info", "thanos_poster").out)
    assert (artwork["kind"], artwork["name"], artwork["licence"]) == (
        *("picture", "thanos_poster"),
        "MIT",
    )
    assert json.loads(run("info", style_image).out) == {"path": str(style_image), "kind": "picture"}
