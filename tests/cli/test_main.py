from __future__ import annotations

import dataclasses
import errno
import importlib.metadata
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
from command_help import Done, Run, run_command
from numpy.typing import NDArray
from PIL import Image

from fststyle import __main__ as program
from fststyle import __version__
from fststyle.cli import main as cli
from fststyle.cli import optimize as optimize_command
from fststyle.cli import styles as styles_command
from fststyle.errors import FststyleError
from fststyle.images.load import load_image, load_photo
from fststyle.images.resize import resize
from fststyle.images.save import save_photo
from fststyle.perceptual import losses, presets, vgg_weights
from fststyle.perceptual.losses import PerceptualLoss
from fststyle.perceptual.optimize import OptimizeConfig, Step, optimize_config
from fststyle.perceptual.presets import PRESETS
from fststyle.perceptual.vgg import VGGWeights
from fststyle.styles import find
from fststyle.styles.network import TransformerNet
from fststyle.stylize import file_stylizer
from fststyle.stylize.stylizer import Stylizer

HEAVY = {
    *("hydra", "http.client", "matplotlib", "openvino.tools.ovc", "pytorch_lightning", "scipy"),
    *("skimage", "torch", "torchvision"),
}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command line in this process, with an empty zoo."""
    for module in (find, styles_command):
        monkeypatch.setattr(module, "zoo_folder", lambda: tmp_path / "zoo")

    def run_(*arguments: str | Path) -> Done:
        return run_command(capsys, *arguments)

    return run_


@pytest.fixture(autouse=True)
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

    def load(architecture: str, path: object = None) -> VGGWeights:
        assert architecture == "vgg16"
        return narrow_weights

    monkeypatch.setattr(presets, "load_weights", load)


def smooth(height: int, width: int) -> NDArray[np.float32]:
    """Something like a photograph."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    waves = [0.5 + 0.4 * np.sin(7 * x + phase) * np.cos(5 * y - phase) for phase in (0, 0.7, 1.9)]
    return np.stack(waves, axis=2).astype(np.float32)


@pytest.fixture
def photo(folder: Path) -> Path:
    path = folder / "photo.png"
    save_photo(smooth(30, 48), path)
    return path


@pytest.fixture
def picture(folder: Path) -> Path:
    """A style picture."""
    path = folder / "picture.png"
    save_photo(smooth(40, 44)[:, :, ::-1].round(), path)
    return path


def install(style_path: Path, name: str) -> Path:
    """Make a style file one of the user's styles."""
    path = find.user_styles_folder() / f"{name}.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(style_path, path)
    return path


def process(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    command = [sys.executable, "-m", "fststyle", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def assert_refused(done: Done, *expected: str) -> None:
    """One sentence that holds certain words, and nothing else."""
    assert done.status == 1
    assert done.out == ""
    assert done.err.startswith("Error: ")
    assert done.err.count("\n") == 1
    for words in expected:
        assert words in done.err


# The command itself


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


def test_help_names_every_preset(run: Run) -> None:
    words = run("optimize", "--help").out.replace(",", " ").split()
    assert set(PRESETS) <= set(words)


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


# stylize


def test_stylize_with_a_style_file(run: Run, photo: Path, style_path: Path) -> None:
    done = run("stylize", photo, "--style", style_path, "-o", "out.png")
    assert (done.status, done.err) == (0, "")
    expected = Stylizer(style_path, device="cpu")(load_image(photo))
    np.testing.assert_allclose(load_image("out.png"), expected, atol=0.51 / 255)


@pytest.mark.parametrize("command", ["stylize", "optimize"])
def test_photo_is_not_replaced(run: Run, photo: Path, style_path: Path, command: str) -> None:
    before = photo.read_bytes()
    done = run(command, photo, "--style", style_path, "-o", f"./{photo.name}")
    assert (done.status, done.out) == (1, "")
    assert "The result would replace the photo" in done.err
    assert photo.read_bytes() == before


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


def test_names_that_a_terminal_cannot_show(photo: Path, style_path: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = process("stylize", photo, "--style", style_path, "-o", "ü.png", env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert Path("ü.png").is_file()


@pytest.mark.parametrize("style", ["thanos_poster", "picture.png"])
def test_stylize_without_a_network_optimises(
    run: Run,
    photo: Path,
    picture: Path,
    style: str,
    original_weights: VGGWeights,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    configs = []

    def quick(preset: str, **overrides: Any) -> OptimizeConfig:
        configs.append(optimize_config(preset, **overrides))
        return OptimizeConfig(iterations=1)

    monkeypatch.setattr(presets, "load_weights", lambda *_: original_weights)
    monkeypatch.setattr(optimize_command, "optimize_config", quick)
    done = run("stylize", photo, "--style", style, "-o", "out.png", "--size", "32")
    assert done.status == 0
    assert configs == [OptimizeConfig()]
    why = "is a picture, not a trained style" if "." in style else "has no trained network yet"
    training = "image=picture.png style.name=NAME" if "." in style else "thanos_poster"
    assert done.err.startswith(f"{style} {why}; this one photo is optimised instead")
    assert f"fststyle train style{'.' if '.' in style else '='}{training}" in done.err
    assert done.out.splitlines()[-1] == "out.png  32×20"
    before = resize(load_image(photo), width=32, height=20)
    after = load_image("out.png")
    assert after.shape == before.shape
    assert np.abs(after - before).max() > 4 / 255


def test_fallback_is_at_512_unless_told_otherwise() -> None:
    large, small = smooth(600, 800), smooth(30, 48)
    assert optimize_command.working_picture(large, None, "calibrated").shape == (384, 512, 3)
    assert optimize_command.working_picture(large, 0, "calibrated") is large
    assert optimize_command.working_picture(large, 80, "calibrated").shape == (60, 80, 3)
    assert optimize_command.working_picture(small, None, "calibrated") is small


# Bad input


def no_photo(path: object) -> None:
    raise AssertionError("the photo was read before output and style were checked")


@pytest.mark.parametrize("command", ["stylize", "optimize"])
@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("out", "no ending"),
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
    for module in (cli, file_stylizer):
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
        (newer, "newer fststyle"),
        (Path.unlink, "There is no file style.onnx"),
    ],
    ids=["truncated", "foreign", "empty", "newer", "missing"],
)
def test_bad_style_files(
    run: Run, command: str, spoil: Callable[[Path], None], expected: str, photo: Path,
    style_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    shutil.copy(style_path, "style.onnx")
    spoil(Path("style.onnx"))
    for module in (cli, file_stylizer):
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
    for module in (cli, file_stylizer):
        monkeypatch.setattr(module, "load_photo", no_photo)
    output = folder if command == "evaluate" else Path("out.png")
    near = run(command, photo, "--style", "thanos_postr", "-o", output)
    assert_refused(near, "'thanos_postr'", "did you mean thanos_poster?")
    assert_refused(run(command, photo, "--style", "qqq", "-o", output), "'fststyle styles'")
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
    run: Run, command: str, name: str, expected: str, photo: Path, picture: Path,
    style_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    Path("here").mkdir()
    Path("truncated.png").write_bytes(photo.read_bytes()[:300])
    Path("text.jpg").write_text("Once upon a time")
    Path("empty.jpg").touch()
    before = files_in(folder)
    if command == "evaluate":
        done = run(command, name, "--style", style_path, "--picture", picture)
    else:
        style = style_path if command == "stylize" else picture
        done = run(command.partition("_")[0], name, "--style", style, "-o", "out.png")
    assert_refused(done, expected)
    assert files_in(folder) == before


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("command", ["stylize", "optimize"])
def test_style_picture_of_one_pixel(run: Run, command: str, photo: Path) -> None:
    save_photo(np.zeros((1, 1, 3)), "dot.png")
    done = run(command, photo, "--style", "dot.png", "-o", "out.png")
    last = done._replace(err=done.err.splitlines(keepends=True)[-1])
    assert_refused(last, "dot.png is 1×1 pixels", "at least 32")
    assert not Path("out.png").exists()


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
    assert_refused(done, "No space left", "free some space")
    assert files_in(folder) == before


@pytest.mark.usefixtures("narrow")
def test_disk_that_fills_during_an_optimisation(
    run: Run, photo: Path, picture: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = files_in(folder)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        done = run(
            *("optimize", photo, "--style", picture, "-o", "out.png", "--loss", "johnson"),
            *("--iterations", "3", "--save-every", "2"),
        )
    last = done._replace(err=done.err.splitlines(keepends=True)[-1])
    assert_refused(last, "Cannot write out_00002.png", "No space left")
    assert files_in(folder) == before


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--loss", "gatys"], "choose from calibrated, johnson"),
        (["--style-layers", "relu9_1"], "relu9_1"),
        (["--content-layers", ""], "layer"),
        (["--style-weight", "-1"], "style_weight"),
        (["--tv-weight", "nan"], "tv_weight"),
        (["--style-sizes", "8"], "style_sizes"),
        (["--learning-rate", "0"], "above 0"),
        (["--scale-factor", "9"], "from 1 to 4"),
        (["--sheet", "sheet.jpg"], "--sheet sheet.png"),
        (["--sheet", "missing/sheet.png"], "choose another place with --sheet"),
        (["--sheet", "out.png"], "replace the result"),
        (["--init", "style"], "fststyle train style"),
        (["--init", "nois"], "--init takes content, noise, style"),
        (["--init", "missing.png"], "There is no picture missing.png"),
        (["--init", "missing.onnx"], "There is no file missing.onnx"),
        (["--init", "photo.txt"], "as an image"),
        (["--vgg-weights", "missing.pth"], "missing.pth"),
    ],
)
def test_bad_settings_of_an_optimisation(
    run: Run, options: list[str], expected: str, photo: Path, picture: Path, folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def no_work(*_: object) -> None:
        raise AssertionError("the photo was worked on before the settings were checked")

    monkeypatch.setattr(optimize_command, "working_picture", no_work)
    monkeypatch.setattr(optimize_command, "optimize_image", no_work)
    Path("photo.txt").write_text("no picture")
    before = files_in(folder)
    done = run("optimize", photo, "--style", picture, "-o", "out.png", *options)
    assert_refused(done, expected)
    assert files_in(folder) == before


@pytest.mark.usefixtures("narrow")
def test_optimize_tells_programs(run: Run, photo: Path, picture: Path) -> None:
    options = ["--size", "32", "--iterations", "2", "--loss", "johnson", "--json"]
    done = run("optimize", photo, "--style", picture, *options, "-o", "out.png")
    assert done.status == 0
    *steps, last = [json.loads(line) for line in done.out.splitlines()]
    assert [line["step"] for line in steps] == list(range(1, len(steps) + 1))
    assert steps[-1]["share"] == 1
    assert set(steps[0]["losses"]) >= {"content", "style", "total"}
    assert (last["output"], last["width"], last["height"]) == ("out.png", 32, 20)


@pytest.mark.usefixtures("narrow")
def test_photo_that_is_too_small_to_optimise(run: Run, picture: Path) -> None:
    save_photo(smooth(7, 20), "thin.png")
    done = run("optimize", "thin.png", "--style", picture, "-o", "o.png", "--loss", "johnson")
    last = done._replace(err=done.err.splitlines(keepends=True)[-1])
    assert_refused(last, "20×7", "at least 8")


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize(
    ("error", "is_mendable"),
    [
        (MemoryError(), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("shapes do not match"), False),
    ],
)
def test_too_little_memory(
    run: Run, error: Exception, is_mendable: bool, photo: Path, picture: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(optimize_command, "optimize_image", fail)
    arguments = ["optimize", str(photo), "--style", str(picture), "-o", "o.png"]
    arguments += ["--loss", "johnson"]
    if is_mendable:
        assert "choose a smaller --size" in run(*arguments).err
    else:
        with pytest.raises(RuntimeError, match="shapes"):
            cli.main(arguments)


# optimize


class Called(NamedTuple):
    content: Any
    loss: PerceptualLoss
    config: OptimizeConfig
    init: Any


@pytest.fixture
def called(narrow: None, monkeypatch: pytest.MonkeyPatch) -> list[Called]:
    """What the optimiser is asked for, which then does nothing."""
    calls: list[Called] = []

    def note(
        content: Any, loss: PerceptualLoss, config: OptimizeConfig, *, init: Any, on_step: Any
    ) -> Any:
        calls.append(Called(content, loss, config, init))
        return content.clone()

    monkeypatch.setattr(optimize_command, "optimize_image", note)
    return calls


def optimise(run: Run, photo: Path, picture: Path | str, *options: str) -> Done:
    """Optimise to out.png under a loss that any VGG16 does for."""
    arguments = ("--style", picture, "-o", "out.png", "--loss", "johnson", *options)
    return run("optimize", photo, *arguments)


def test_defaults_are_those_of_the_preset(
    run: Run, photo: Path, picture: Path, called: list[Called]
) -> None:
    for preset in ("johnson", "pytorch_examples", "keras_vgg16"):
        assert optimise(run, photo, picture, "--loss", preset, "--size", "48").status == 0
        assert called[-1].loss.config == PRESETS[preset]
        assert called[-1].config == optimize_config(preset)
        assert called[-1].init == "content"


@pytest.mark.parametrize(
    ("options", "name", "expected"),
    [
        (["--content-weight", "3"], "content_weight", 3.0),
        (["--style-weight", "0"], "style_weight", 0.0),
        (["--tv-weight", "0.25"], "tv_weight", 0.25),
        (["--content-layers", "block2_conv2"], "content_layers", {"relu2_2": 1.0}),
        (["--style-layers", "relu1_1:2, relu3_1"], "style_layers", {"relu1_1": 2, "relu3_1": 1}),
        (["--style-sizes", "32,0"], "style_sizes", (32, 0)),
    ],
)
def test_loss_options(
    run: Run, photo: Path, picture: Path, called: list[Called], options: list[str], name: str,
    expected: object,
) -> None:  # fmt: skip
    assert optimise(run, photo, picture, *options).status == 0
    assert getattr(called[0].loss.config, name) == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--optimizer", "adam"], OptimizeConfig(method="adam")),
        (["--optimizer", "lbfgs", "--iterations", "7"], OptimizeConfig(iterations=7)),
        (["--rounds", "2", "--seed", "5"], OptimizeConfig(rounds=2, seed=5)),
        (
            ["--learning-rate", "0.5", "--scale-factor", "1.4"],
            OptimizeConfig(learning_rate=0.5, scale_factor=1.4),
        ),
        # Asked for 50 iterations a round, it must not stop after the recipe's 20 evaluations.
        (
            ["--loss", "keras_vgg16", "--iterations", "50", "--size", "48"],
            OptimizeConfig(rounds=10, iterations=50, scale_factor=1.0),
        ),
    ],
)
def test_optimiser_options(
    run: Run, photo: Path, picture: Path, called: list[Called], options: list[str],
    expected: OptimizeConfig,
) -> None:  # fmt: skip
    assert optimise(run, photo, picture, *options).status == 0
    assert called[0].config == expected


def test_what_to_start_from(
    run: Run, photo: Path, picture: Path, style_path: Path, called: list[Called]
) -> None:
    content = load_image(photo)
    optimise(run, photo, picture, "--init", "noise")
    assert called[-1].init == "noise"
    optimise(run, photo, picture, "--init", str(picture))
    actual = called[-1].init[0].numpy().transpose(1, 2, 0)
    np.testing.assert_array_equal(actual, resize(load_image(picture), width=48, height=30))
    # An artwork that has a network by now.
    install(style_path, "ink_wash")
    expected = Stylizer(style_path, device="cpu")(content)
    for options in (["ink_wash", "--init", "style"], [str(picture), "--init", str(style_path)]):
        assert optimise(run, photo, *options).status == 0
        actual = called[-1].init[0].numpy().transpose(1, 2, 0)
        np.testing.assert_array_equal(actual, expected)


def test_style_without_a_picture_of_ours(run: Run, photo: Path, style_path: Path) -> None:
    install(style_path, "mine")
    for style in ("mine", str(style_path)):
        done = optimise(run, photo, style)
        assert_refused(done, "the path of the picture", "--style PICTURE")


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
@pytest.mark.parametrize("init", ["content", "noise"])
def test_optimising(run: Run, photo: Path, picture: Path, optimizer: str, init: str) -> None:
    options = ["--optimizer", optimizer, "--init", init, "--iterations", "4", "--save-every", "2"]
    done = optimise(run, photo, picture, *options, "--sheet", "sheet.png", "--size", "40")
    assert done.status == 0
    similarity, result = done.out.splitlines()
    assert similarity.startswith("against the photo: SSIM 0.")
    assert similarity.endswith(" dB")
    assert result == "out.png  40×25"
    assert "johnson was tuned for" in done.err
    assert load_image("out.png").shape == (25, 40, 3)
    saved = sorted(path.name for path in Path().glob("out_*"))
    assert saved == ["out_00002.png", "out_00004.png"]
    last, before = load_image("out_00004.png"), load_image("out_00002.png")
    np.testing.assert_array_equal(last, load_image("out.png"))
    assert np.abs(last - before).max() > 2 / 255
    height, width = load_image("sheet.png").shape[:2]
    assert 800 < height < 2000
    assert 1000 < width < 2000


@pytest.mark.usefixtures("narrow")
def test_optimising_lowers_the_loss(run: Run, photo: Path, picture: Path) -> None:
    for seed, name in (("0", "a.png"), ("0", "b.png"), ("1", "c.png")):
        options = ["--init", "noise", "--iterations", "2", "--seed", seed, "--output", name]
        optimise(run, photo, picture, *options)
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes() != Path("c.png").read_bytes()
    # Nothing to lower: the photograph is its own content.
    options = ["--style-weight", "0", "--tv-weight", "0", "--iterations", "3"]
    done = optimise(run, photo, picture, *options)
    assert done.status == 0
    assert "SSIM 1.0000, PSNR inf dB" in done.out
    np.testing.assert_array_equal(load_image("out.png"), load_image(photo))


@pytest.mark.usefixtures("narrow")
def test_optimised_photo_keeps_its_metadata(run: Run, photo: Path, picture: Path) -> None:
    given = Image.Exif()
    given[0x013B], given[0x0112] = "A painter", 1
    given.get_ifd(0x8825)[1] = "N"
    with Image.open(photo) as image:
        image.save("told.jpg", exif=given)
    assert (
        optimise(run, Path("told.jpg"), picture, "--iterations", "1", "-o", "out.jpg").status == 0
    )
    with Image.open("out.jpg") as image:
        kept = image.getexif()
        assert (kept[0x013B], kept.get_ifd(0x8825)) == ("A painter", {})
        assert f"in the style {picture.stem}." in kept[0x010E]


@pytest.mark.usefixtures("narrow")
def test_keras_vgg16_as_its_source_reports(run: Run, photo: Path, picture: Path) -> None:
    options = ["--loss", "keras_vgg16", "--size", "40", "--rounds", "3", "--iterations", "2"]
    done = optimise(run, photo, picture, *options)
    assert done.status == 0
    lines = [line for line in done.err.splitlines() if line.startswith("round ")]
    assert [line.partition(":")[0] for line in lines] == ["round 1/3", "round 2/3", "round 3/3"]
    values = [float(line.split("loss ")[1].partition(",")[0]) for line in lines]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == 3
    assert all(" s, " in line and line.endswith(" evaluations") for line in lines)
    assert "SSIM" in done.out
    assert "PSNR" in done.out


@pytest.mark.usefixtures("narrow")
def test_keras_vgg19_says_that_it_runs_on_vgg16(run: Run, photo: Path, picture: Path) -> None:
    options = ["--loss", "keras_vgg19", "--rounds", "1", "--iterations", "2"]
    done = optimise(run, photo, picture, *options)
    assert done.status == 0
    assert "was tuned for VGG19; it runs on VGG16" in done.err
    assert "SSIM" in done.out


def test_keras_vgg16_works_on_a_square(
    run: Run, picture: Path, called: list[Called], folder: Path
) -> None:
    alpha = smooth(20, 30)[:, :, 0]
    save_photo(smooth(20, 30), "in.png", alpha=alpha)
    done = run("optimize", "in.png", "--style", picture, "-o", "o.png", "--loss", "keras_vgg16")
    assert done.out.splitlines()[-1] == "o.png  512×341"
    assert called[0].content.shape == (1, 3, 512, 512)
    result = load_photo("o.png")
    assert result.pixels.shape == (341, 512, 3)
    assert result.alpha is not None
    expected = resize(load_image("in.png"), width=512, height=341)
    assert np.abs(load_image("o.png") - expected).max() < 0.1


@pytest.mark.parametrize(
    ("size", "preset", "working", "result"),
    [
        (None, "keras_vgg16", (512, 512), (512, 256)),
        (64, "keras_vgg16", (64, 32), (64, 32)),
        (0, "keras_vgg16", (601, 301), (601, 301)),
        (None, "keras_vgg19", (512, 256), (512, 256)),
        (2000, "calibrated", (601, 301), (601, 301)),
    ],
)
def test_sizes(
    size: int | None, preset: str, working: tuple[int, int], result: tuple[int, int]
) -> None:
    pixels = smooth(601, 301)
    assert optimize_command.working_picture(pixels, size, preset).shape[:2] == working
    assert optimize_command.result_shape(pixels, size, preset) == result


def test_share_of_the_work_counts_pixels() -> None:
    config = OptimizeConfig(iterations=10)
    recorder = optimize_command._Recorder(config, Path("o.png"), None, lambda *_: None)
    one_scale = [recorder._share_done(step(index, 10)) for index in (1, 5, 10)]
    assert one_scale == pytest.approx([0.1, 0.5, 1])
    # The finer scale has four times the pixels.
    two_scales = [recorder._share_done(step(index, 20)) for index in (5, 10, 11, 15, 20)]
    assert two_scales == pytest.approx([0.1, 0.2, 0.28, 0.6, 1])


def step(index: int, total: int, round_: int = 1) -> Step:
    import torch

    image = torch.full((1, 3, 8, 8), index / 1000)
    terms = losses.LossTerms(
        torch.tensor(1.0), torch.tensor(2.0), torch.tensor(0.5), torch.tensor(0.0)
    )
    return Step(index, total, round_, index, terms, image)


def test_pictures_on_the_way_when_rounds_end_early() -> None:
    saved: list[str] = []
    config = OptimizeConfig(rounds=2, iterations=10)
    recorder = optimize_command._Recorder(
        config, Path("o.png"), 4, lambda pixels, path: saved.append(path.name)
    )
    for index, round_ in ((1, 1), (3, 1), (4, 1), (5, 1), (11, 2), (13, 2), (20, 2)):
        recorder.on_step(step(index, 20, round_))
    recorder.close()
    assert saved == ["o_00004.png", "o_00011.png", "o_00013.png", "o_00020.png"]


def test_progress_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(optimize_command, "_SECONDS_A_LINE", 0.0)
    recorder = optimize_command._Recorder(
        OptimizeConfig(iterations=4), Path("o.png"), None, lambda *_: None
    )
    for index in (1, 2):
        recorder.on_step(step(index, 4))
    recorder.close()
    captured = capsys.readouterr()
    assert captured.out == ""
    # How long an iteration takes is known after two of them: the first one includes the start.
    first, second = captured.err.splitlines()
    assert first == "1/4, total 3.5, content 1, style 2"
    assert re.fullmatch(r"2/4, \d+ s left, total 3.5, content 1, style 2", second)


@pytest.mark.usefixtures("narrow")
def test_sheet_that_fails_leaves_the_result(
    run: Run, photo: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise FststyleError("sheet.png cannot be written.")

    monkeypatch.setattr(optimize_command, "write_atomically", refuse)
    done = optimise(run, photo, picture, "--iterations", "1", "--sheet", "sheet.png")
    assert done.status == 1
    assert done.err.endswith("Error: sheet.png cannot be written.\n")
    assert load_image("out.png").shape == (30, 48, 3)


@pytest.mark.usefixtures("narrow")
def test_ctrl_c_at_a_coarse_scale(
    run: Run, photo: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, on_step: Callable[[Step], None], **__: object) -> None:
        on_step(step(200, 300))
        raise KeyboardInterrupt

    monkeypatch.setattr(optimize_command, "optimize_image", interrupted)
    done = optimise(run, photo, picture)
    assert done.status == 130
    assert "Interrupted; the picture is written as it is now.\n" in done.err
    actual = load_image("out.png")
    assert actual.shape == (30, 48, 3)
    np.testing.assert_allclose(actual, 0.2, atol=0.51 / 255)


@pytest.mark.usefixtures("narrow")
def test_ctrl_c_before_the_first_iteration(
    run: Run, photo: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(optimize_command, "optimize_image", interrupted)
    done = optimise(run, photo, picture)
    assert (done.status, done.out) == (130, "")
    assert done.err.endswith("Interrupted.\n")
    assert not Path("out.png").exists()


@pytest.mark.skipif(os.name != "posix", reason="signals are sent otherwise there")
def test_ctrl_c_in_a_process(photo: Path, picture: Path, original_weights: VGGWeights) -> None:
    weights = original_weights.source  # the file's path
    command = [sys.executable, "-m", "fststyle", "optimize", str(photo)]
    command += ["--style", str(picture), "-o", "out.png", "--loss", "johnson", "--size", "32"]
    command += ["--style-layers", "relu1_1", "--content-layers", "relu1_2"]  # to be quick
    command += ["--iterations", "100000", "--save-every", "1", "--vgg-weights", weights]
    running = subprocess.Popen(command, stdout=-1, stderr=-1, text=True)
    try:
        until = time.monotonic() + 100
        while not Path("out_00001.png").exists():
            assert running.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
        assert not Path("out.png").exists()
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode == 130
    assert "Traceback" not in err
    assert "Interrupted;" in err
    assert out.splitlines()[-1] == "out.png  32×20"
    # The signal may come while a step's picture is being saved: the result is of that step then.
    saved = [load_image(path) for path in sorted(Path().glob("out_*.png"))]
    result = load_image("out.png")
    np.testing.assert_allclose(result, saved[-1], atol=0.25)
    assert not any(np.array_equal(result, older) for older in saved[:-1])


# evaluate


@pytest.fixture
def original(original_weights: VGGWeights, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vgg_weights, "load_weights", lambda *_: original_weights)


@pytest.mark.usefixtures("original")
def test_evaluate(run: Run, picture: Path, style_path: Path, folder: Path) -> None:
    for name in ("a", "b"):
        Path(name).mkdir()
        save_photo(smooth(20, 26 if name == "a" else 24), f"{name}/photo.png")
    Path("report").mkdir()
    done = run(
        *("evaluate", "a/photo.png", "b/photo.png", "--style", style_path, "--picture", picture),
        *("--size", "24", "--iterations", "3", "-o", "report"),
    )
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("# small: equals ")
    assert done.out.endswith("\nReport  report/report.md\n")
    names = {"report.md", "report.json", "report_curve.png", "report_sheet.png"}
    assert {path.name for path in Path("report").iterdir()} == names
    report = json.loads(Path("report/report.json").read_text())
    # Two photos of the same file name are two photos, and no larger than asked for.
    assert [result["name"] for result in report["photos"]] == ["a/photo.png", "b/photo.png"]
    assert [result["width"] for result in report["photos"]] == [24, 24]
    assert [len(result["curve"]) for result in report["photos"]] == [4, 4]
    assert list(report["photos"][0]["optimised"]) == ["1", "2", "3"]


def test_evaluate_without_what_it_needs(
    run: Run, photo: Path, picture: Path, style_path: Path, folder: Path
) -> None:
    before = files_in(folder)
    assert_refused(
        run("evaluate", photo, "--style", style_path, "-o", "missing"), "There is no folder missing"
    )
    assert_refused(run("evaluate", photo, "--style", style_path), "--picture PICTURE")
    assert_refused(
        run("evaluate", photo, "--style", style_path, "--picture", "no.png"),
        "no.png does not exist",
    )
    for style in ("thanos_poster", "picture.png"):
        done = run("evaluate", photo, "--style", style)
        assert_refused(done, "fststyle train style")
    with_picture = ["--style", style_path, "--picture", picture]
    assert_refused(run("evaluate", photo, photo, *with_picture), "named twice")
    assert_refused(run("evaluate", photo, *with_picture, "--vgg-weights", "no.onnx"), "no.onnx")
    assert files_in(folder) == before


# styles, info, train


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


def test_info(run: Run, style_path: Path, picture: Path, small_network: TransformerNet) -> None:
    trained = json.loads(run("info", style_path).out)
    assert trained["kind"] == "network"
    assert trained["network"] == dataclasses.asdict(small_network.config)
    assert (trained["name"], trained["title"]) == ("small", "A small one")
    artwork = json.loads(run("info", "thanos_poster").out)
    assert (artwork["kind"], artwork["name"], artwork["licence"]) == (
        *("picture", "thanos_poster"),
        "MIT",
    )
    assert json.loads(run("info", picture).out) == {"path": str(picture), "kind": "picture"}


@pytest.mark.skipif(os.name != "posix", reason="a process does not become another there")
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], []),
        (["style=a", "minutes=1"], ["style=a", "minutes=1"]),
        (["-m", "style=a,b"], ["--multirun", "style=a,b"]),
        (["style=a", "--cfg", "job"], ["style=a", "--cfg", "job"]),
    ],
)
def test_train_becomes_the_training(
    arguments: list[str], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Replaced(Exception):  # noqa: N818
        pass

    def execve(path: str, command: list[str], environment: dict[str, str]) -> None:
        assert environment == {"GOMP_SPINCOUNT": "10000", **os.environ}
        assert (path, command[:3]) == (sys.executable, [sys.executable, "-m", "fststyle.training"])
        raise Replaced(command[3:])

    monkeypatch.setattr(os, "execve", execve)
    with pytest.raises(Replaced) as replaced:
        cli.main(["train", *arguments])
    assert replaced.value.args[0] == expected


def test_train_with_a_misspelt_key(folder: Path) -> None:
    done = process("train", "style=thanos_poster", "minuts=1")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "minuts" in done.stderr
    assert "Traceback" not in done.stderr
