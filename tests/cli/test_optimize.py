from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from command_help import Done, Run, assert_refused, files_in, install, smooth
from optimize_help import step
from PIL import Image

from fststyle.cli import main as cli
from fststyle.cli import optimize_photo
from fststyle.errors import FststyleError
from fststyle.images.load import load_image, load_photo
from fststyle.images.resize import resize
from fststyle.images.save import save_photo
from fststyle.perceptual.losses import PerceptualLoss
from fststyle.perceptual.optimize import OptimizeConfig, Step, optimize_config
from fststyle.perceptual.presets import PRESETS
from fststyle.perceptual.vgg import VGGWeights
from fststyle.stylize.stylizer import Stylizer

pytestmark = pytest.mark.usefixtures("folder")


def test_help_names_every_preset(run: Run) -> None:
    words = run("optimize", "--help").out.replace(",", " ").split()
    assert set(PRESETS) <= set(words)


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("command", ["stylize", "optimize"])
def test_style_picture_of_one_pixel(run: Run, command: str, photo: Path) -> None:
    save_photo(np.zeros((1, 1, 3)), "dot.png")
    done = run(command, photo, "--style", "dot.png", "-o", "out.png")
    last = done._replace(err=done.err.splitlines(keepends=True)[-1])
    assert_refused(last, "dot.png has only 1×1 pixels", "at least 32")
    assert not Path("out.png").exists()


@pytest.mark.usefixtures("narrow")
def test_disk_that_fills_during_an_optimisation(
    run: Run, photo: Path, style_image: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = files_in(folder)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        done = run(
            *("optimize", photo, "--style", style_image, "-o", "out.png", "--loss", "johnson"),
            *("--iterations", "3", "--save-every", "2"),
        )
    last = done._replace(err=done.err.splitlines(keepends=True)[-1])
    assert_refused(last, "Cannot write out_00002.png", "No space left")
    assert files_in(folder) == before


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--loss", "gatys"], "choose from calibrated, painterly, johnson"),
        (["--style-layers", "relu9_1"], "relu9_1"),
        (["--content-layers", ""], "layer"),
        (["--style-weight", "-1"], "style_weight"),
        (["--tv-weight", "nan"], "tv_weight"),
        (["--style-sizes", "8"], "style_sizes"),
        (["--learning-rate", "0"], "above 0"),
        (["--scale-factor", "9"], "from 1 to 4"),
        (["--sheet", "sheet.jpg"], "--sheet sheet.png"),
        (["--sheet", "missing/sheet.png"], "the folder missing does not exist"),
        (["--sheet", "out.png"], "would replace"),
        (["--init", "style"], "--init style needs a trained network"),
        (["--init", "nois"], "--init accepts content, noise, style"),
        (["--init", "missing.png"], "The image missing.png to start from"),
        (["--init", "missing.onnx"], "The file missing.onnx does not exist"),
        (["--init", "photo.txt"], "as an image"),
        (["--vgg-weights", "missing.pth"], "missing.pth"),
    ],
)
def test_bad_settings_of_an_optimisation(
    run: Run, options: list[str], expected: str, photo: Path, style_image: Path, folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def no_work(*_: object) -> None:
        raise AssertionError("the photo was worked on before the settings were checked")

    monkeypatch.setattr(optimize_photo, "working_image", no_work)
    monkeypatch.setattr(optimize_photo, "optimize_image", no_work)
    Path("photo.txt").write_text("no picture")
    before = files_in(folder)
    done = run("optimize", photo, "--style", style_image, "-o", "out.png", *options)
    assert_refused(done, expected)
    assert files_in(folder) == before


@pytest.mark.usefixtures("narrow")
def test_optimize_tells_programs(run: Run, photo: Path, style_image: Path) -> None:
    options = ["--size", "32", "--iterations", "2", "--loss", "johnson", "--json"]
    done = run("optimize", photo, "--style", style_image, *options, "-o", "out.png")
    assert done.status == 0
    *steps, last = [json.loads(line) for line in done.out.splitlines()]
    assert [line["step"] for line in steps] == list(range(1, len(steps) + 1))
    assert steps[-1]["share"] == 1
    assert set(steps[0]["losses"]) >= {"content", "style", "total"}
    assert (last["output"], last["width"], last["height"]) == ("out.png", 32, 20)


@pytest.mark.usefixtures("narrow")
def test_photo_that_is_too_small_to_optimise(run: Run, style_image: Path) -> None:
    save_photo(smooth(7, 20), "thin.png")
    done = run("optimize", "thin.png", "--style", style_image, "-o", "o.png", "--loss", "johnson")
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
    run: Run, error: Exception, is_mendable: bool, photo: Path, style_image: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(optimize_photo, "optimize_image", fail)
    arguments = ["optimize", str(photo), "--style", str(style_image), "-o", "o.png"]
    arguments += ["--loss", "johnson"]
    if is_mendable:
        assert "Choose a smaller size with --size" in run(*arguments).err
    else:
        with pytest.raises(RuntimeError, match="shapes"):
            cli.main(arguments)


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

    monkeypatch.setattr(optimize_photo, "optimize_image", note)
    return calls


def optimise(run: Run, photo: Path, style_image: Path | str, *options: str) -> Done:
    """Optimise to out.png under a loss that any VGG16 does for."""
    arguments = ("--style", style_image, "-o", "out.png", "--loss", "johnson", *options)
    return run("optimize", photo, *arguments)


def test_defaults_are_those_of_the_preset(
    run: Run, photo: Path, style_image: Path, called: list[Called]
) -> None:
    for preset in ("johnson", "pytorch_examples", "keras_vgg16"):
        assert optimise(run, photo, style_image, "--loss", preset, "--size", "48").status == 0
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
    run: Run, photo: Path, style_image: Path, called: list[Called], options: list[str], name: str,
    expected: object,
) -> None:  # fmt: skip
    assert optimise(run, photo, style_image, *options).status == 0
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
    run: Run, photo: Path, style_image: Path, called: list[Called], options: list[str],
    expected: OptimizeConfig,
) -> None:  # fmt: skip
    assert optimise(run, photo, style_image, *options).status == 0
    assert called[0].config == expected


def test_what_to_start_from(
    run: Run, photo: Path, style_image: Path, style_path: Path, called: list[Called]
) -> None:
    content = load_image(photo)
    optimise(run, photo, style_image, "--init", "noise")
    assert called[-1].init == "noise"
    optimise(run, photo, style_image, "--init", str(style_image))
    actual = called[-1].init[0].numpy().transpose(1, 2, 0)
    np.testing.assert_array_equal(actual, resize(load_image(style_image), width=48, height=30))
    # An artwork that has a network by now.
    install(style_path, "ink_wash")
    expected = Stylizer(style_path, device="cpu")(content)
    for options in (["ink_wash", "--init", "style"], [str(style_image), "--init", str(style_path)]):
        assert optimise(run, photo, *options).status == 0
        actual = called[-1].init[0].numpy().transpose(1, 2, 0)
        np.testing.assert_array_equal(actual, expected)


def test_style_without_a_picture_of_ours(run: Run, photo: Path, style_path: Path) -> None:
    install(style_path, "mine")
    for style in ("mine", str(style_path)):
        done = optimise(run, photo, style)
        assert_refused(done, "was trained on", "--style IMAGE")


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
@pytest.mark.parametrize("init", ["content", "noise"])
def test_optimising(run: Run, photo: Path, style_image: Path, optimizer: str, init: str) -> None:
    options = ["--optimizer", optimizer, "--init", init, "--iterations", "4", "--save-every", "2"]
    done = optimise(run, photo, style_image, *options, "--sheet", "sheet.png", "--size", "40")
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
def test_optimising_lowers_the_loss(run: Run, photo: Path, style_image: Path) -> None:
    for seed, name in (("0", "a.png"), ("0", "b.png"), ("1", "c.png")):
        options = ["--init", "noise", "--iterations", "2", "--seed", seed, "--output", name]
        optimise(run, photo, style_image, *options)
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes() != Path("c.png").read_bytes()
    # Nothing to lower: the photograph is its own content.
    options = ["--style-weight", "0", "--tv-weight", "0", "--iterations", "3"]
    done = optimise(run, photo, style_image, *options)
    assert done.status == 0
    assert "SSIM 1.0000, PSNR inf dB" in done.out
    np.testing.assert_array_equal(load_image("out.png"), load_image(photo))


@pytest.mark.usefixtures("narrow")
def test_optimised_photo_keeps_its_metadata(run: Run, photo: Path, style_image: Path) -> None:
    given = Image.Exif()
    given[0x013B], given[0x0112] = "A painter", 1
    given.get_ifd(0x8825)[1] = "N"
    with Image.open(photo) as image:
        image.save("told.jpg", exif=given)
    assert (
        optimise(run, Path("told.jpg"), style_image, "--iterations", "1", "-o", "out.jpg").status
        == 0
    )
    with Image.open("out.jpg") as image:
        kept = image.getexif()
        assert (kept[0x013B], kept.get_ifd(0x8825)) == ("A painter", {})
        assert f"in the style {style_image.stem}." in kept[0x010E]


@pytest.mark.usefixtures("narrow")
def test_keras_vgg16_as_its_source_reports(run: Run, photo: Path, style_image: Path) -> None:
    options = ["--loss", "keras_vgg16", "--size", "40", "--rounds", "3", "--iterations", "2"]
    done = optimise(run, photo, style_image, *options)
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
def test_keras_vgg19_says_that_it_runs_on_vgg16(run: Run, photo: Path, style_image: Path) -> None:
    options = ["--loss", "keras_vgg19", "--rounds", "1", "--iterations", "2"]
    done = optimise(run, photo, style_image, *options)
    assert done.status == 0
    assert "was tuned for VGG19; it runs on VGG16" in done.err
    assert "SSIM" in done.out


def test_keras_vgg16_works_on_a_square(
    run: Run, style_image: Path, called: list[Called], folder: Path
) -> None:
    alpha = smooth(20, 30)[:, :, 0]
    save_photo(smooth(20, 30), "in.png", alpha=alpha)
    done = run("optimize", "in.png", "--style", style_image, "-o", "o.png", "--loss", "keras_vgg16")
    assert done.out.splitlines()[-1] == "o.png  512×341"
    assert called[0].content.shape == (1, 3, 512, 512)
    result = load_photo("o.png")
    assert result.pixels.shape == (341, 512, 3)
    assert result.alpha is not None
    expected = resize(load_image("in.png"), width=512, height=341)
    assert np.abs(load_image("o.png") - expected).max() < 0.1


@pytest.mark.usefixtures("narrow")
def test_sheet_that_fails_leaves_the_result(
    run: Run, photo: Path, style_image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise FststyleError("sheet.png cannot be written.")

    monkeypatch.setattr(optimize_photo, "write_atomically", refuse)
    done = optimise(run, photo, style_image, "--iterations", "1", "--sheet", "sheet.png")
    assert done.status == 1
    assert done.err.endswith("Error: sheet.png cannot be written.\n")
    assert load_image("out.png").shape == (30, 48, 3)


@pytest.mark.usefixtures("narrow")
def test_ctrl_c_at_a_coarse_scale(
    run: Run, photo: Path, style_image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, on_step: Callable[[Step], None], **__: object) -> None:
        on_step(step(200, 300))
        raise KeyboardInterrupt

    monkeypatch.setattr(optimize_photo, "optimize_image", interrupted)
    done = optimise(run, photo, style_image)
    assert done.status == 130
    assert "Interrupted. The image is saved in its current state.\n" in done.err
    actual = load_image("out.png")
    assert actual.shape == (30, 48, 3)
    np.testing.assert_allclose(actual, 0.2, atol=0.51 / 255)


@pytest.mark.usefixtures("narrow")
def test_ctrl_c_before_the_first_iteration(
    run: Run, photo: Path, style_image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(optimize_photo, "optimize_image", interrupted)
    done = optimise(run, photo, style_image)
    assert (done.status, done.out) == (130, "")
    assert done.err.endswith("Interrupted.\n")
    assert not Path("out.png").exists()


@pytest.mark.skipif(os.name != "posix", reason="signals are sent otherwise there")
def test_ctrl_c_in_a_process(photo: Path, style_image: Path, original_weights: VGGWeights) -> None:
    weights = original_weights.source  # the file's path
    command = [sys.executable, "-m", "fststyle", "optimize", str(photo)]
    command += ["--style", str(style_image), "-o", "out.png", "--loss", "johnson", "--size", "32"]
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
    assert "Interrupted." in err
    assert out.splitlines()[-1] == "out.png  32×20"
    # The signal may come while a step's picture is being saved: the result is of that step then.
    saved = [load_image(path) for path in sorted(Path().glob("out_*.png"))]
    result = load_image("out.png")
    np.testing.assert_allclose(result, saved[-1], atol=0.25)
    assert not any(np.array_equal(result, older) for older in saved[:-1])
