from __future__ import annotations

import csv
import dataclasses
import errno
import hashlib
import json
import logging
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from errors_help import raises
from omegaconf import OmegaConf
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training_help import SMALL, compose, newest_folder, poison, small, start

from fststyle.errors import (
    DivergedError,
    FststyleError,
    PhotoError,
    SettingError,
    StyleError,
    TrainingError,
)
from fststyle.files import shell_word
from fststyle.images.load import load_image
from fststyle.images.save import save_photo
from fststyle.perceptual.losses import PerceptualLoss
from fststyle.perceptual.presets import loss_config
from fststyle.styles import find
from fststyle.styles import style_file as stylefile
from fststyle.styles.find import art_folder
from fststyle.styles.info import StyleInfo
from fststyle.styles.network import TransformerNet
from fststyle.styles.style_file import load_style, read_info
from fststyle.training import gates
from fststyle.training import train as training
from fststyle.training.data import PhotoDataModule
from fststyle.training.main import INTERRUPTED
from fststyle.training.module import StyleModule
from fststyle.training.photo_crops import is_held_out
from fststyle.training.report import about_the_run
from fststyle.training.run_folder import find_resumable
from fststyle.training.steady import SteadyConfig
from fststyle.training.train import TrainingResult, train

pytestmark = pytest.mark.usefixtures("original_weights")

LAYERS = ["content_relu4_2", "style_relu1_2", "style_relu2_2", "style_relu3_3", "style_relu4_3"]


@pytest.fixture(autouse=True)
def data_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for installed styles that is not the user's."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data_home"))
    return tmp_path / "data_home"


def checkpoint_of(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(folder / "last.ckpt", weights_only=True)
    return loaded


def status_of(folder: Path) -> str:
    return str(json.loads((folder / "run.json").read_text())["status"])


def metrics_of(folder: Path, start_step: int = 0) -> list[dict[str, str]]:
    with (folder / "csv" / f"from_step_{start_step}" / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def assert_equal(actual: Any, expected: Any) -> None:
    """Two trees of what a checkpoint holds are equal to the bit."""
    if isinstance(expected, dict):
        assert actual.keys() == expected.keys()
        for key, value in expected.items():
            assert_equal(actual[key], value)
    elif isinstance(expected, list | tuple):
        assert len(actual) == len(expected)
        for one, other in zip(actual, expected, strict=True):
            assert_equal(one, other)
    elif isinstance(expected, torch.Tensor):
        torch.testing.assert_close(actual, expected, rtol=0, atol=0)
    else:
        assert actual == expected


def assert_same_run(actual: Path, expected: Path) -> None:
    """Weights, averages, optimiser, counts and the style file are equal to the bit."""
    states = [checkpoint_of(folder) for folder in (actual, expected)]
    for state in states:
        for key in ("seconds", "held_out", "held_out_at"):  # the losses are in the style file
            del state["fststyle"][key]
        assert isinstance(state["fststyle"]["guard"].pop("trouble"), str)
    for key in ("state_dict", "optimizer_states", "fststyle"):
        assert_equal(states[0][key], states[1][key])
    files = [next(folder.glob("*.onnx")).read_bytes() for folder in (actual, expected)]
    assert files[0] == files[1]


# What a run leaves


@pytest.fixture(scope="module")
def one_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainingResult]:
    """A whole run of 12 steps, with its folder."""
    folder = tmp_path_factory.mktemp("one_run")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("XDG_DATA_HOME", str(folder / "data_home"))
        cfg = small(
            folder / "run",
            "steps=12",
            "install=true",
            "trainer.validate_every=5",
            "trainer.ema_decay=0.5",
            "loss.style_weight=0.25",
            "+callbacks.sheets.at=[0.5,1.0]",
        )
        before = OmegaConf.to_container(cfg)
        result = train(cfg)
        assert OmegaConf.to_container(cfg) == before
    return folder, result


def test_result(one_run: tuple[Path, TrainingResult]) -> None:
    folder, result = one_run
    assert result == TrainingResult(
        folder / "run" / "thanos_poster.onnx",
        folder / "data_home" / "fststyle" / "styles" / "thanos_poster.onnx",
        folder / "run" / "sheet.png",
        read_info(result.style_file).training["held_out"],
        None,
        False,
    )
    assert result.installed is not None
    assert result.installed.read_bytes() == result.style_file.read_bytes()
    assert status_of(folder / "run") == "finished"
    assert not list(folder.rglob(".*"))


def test_style_file_holds_the_average(one_run: tuple[Path, TrainingResult]) -> None:
    network, _ = load_style(one_run[1].style_file)
    state = checkpoint_of(one_run[0] / "run")["state_dict"]
    for name, actual in network.state_dict().items():
        expected = state[f"average.module.{name}"]
        torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-6)
        if actual.ndim == 1:  # not rounded to float16
            assert actual.equal(expected)
    gains = [name for name, value in network.state_dict().items() if value.ndim == 1]
    assert any(not state[f"network.{n}"].equal(state[f"average.module.{n}"]) for n in gains)


def test_style_info(one_run: tuple[Path, TrainingResult]) -> None:
    folder, result = one_run
    info = read_info(result.style_file)
    picture = art_folder() / "thanos_poster.jpg"
    assert info.name == "thanos_poster"
    assert info.title
    assert info.style_image_sha256 == hashlib.sha256(picture.read_bytes()).hexdigest()
    facts = dict(info.training)
    held_out = facts.pop("held_out")
    height, width = load_image(picture).shape[:2]
    assert SteadyConfig(**facts.pop("steady")) == SteadyConfig()
    expected_loss = loss_config(style_weight=0.25, style_sizes=(64,)).as_dict()
    assert facts == {
        "steps": 12,
        "photos": 12,  # of the 13 that there are
        "rollbacks": 0,
        "size": 64,
        "batch_size": 1,
        "loss": json.loads(json.dumps(expected_loss)),
        "vgg": {"architecture": "vgg16", "original": True},
        "style_picture_size": [width, height],
    }
    assert sorted(held_out) == sorted([*LAYERS, "palette", "steady", "total", "tv"])
    last = [row for row in metrics_of(folder / "run") if row["val/total"]][-1]
    for name, value in held_out.items():
        assert float(last[f"val/{name}"]) == pytest.approx(value, abs=1e-5)


def test_held_out_losses_are_those_of_the_style_file(
    one_run: tuple[Path, TrainingResult], original_weights: Any
) -> None:
    folder, result = one_run
    network, info = load_style(result.style_file)
    picture = load_image(art_folder() / "thanos_poster.jpg")
    config = loss_config(style_weight=0.25, style_sizes=(64,))
    loss = PerceptualLoss.from_picture(config, original_weights, picture)
    totals, deep = [], []
    for crop in PhotoDataModule(size=64, validation_photos=2).held_out_crops():
        targets = loss.content_targets(crop[None])
        with torch.no_grad():
            drawn = network.eval()(crop[None])
        totals.append(float(loss(drawn, targets).total))
        deep.append(float(loss.relative(drawn, targets).style["relu4_3"]))
    actual = info.training["held_out"]
    assert actual["total"] == pytest.approx(np.mean(totals), rel=0.02)  # kernels are rounded
    assert actual["style_relu4_3"] == pytest.approx(np.mean(deep), rel=0.02)


def test_log(one_run: tuple[Path, TrainingResult]) -> None:
    rows = metrics_of(one_run[0] / "run")
    expected = {f"val/{name}" for name in [*LAYERS, "total", "palette", "tv", "steady"]}
    terms = ("content", "style", "palette", "tv", "steady")
    expected |= {f"train/{name}" for name in ("total", *terms, "learning_rate")}
    assert set(rows[0]) == {*expected, "epoch", "step"}
    assert [int(row["step"]) for row in rows if row["val/total"]] == [4, 9, 11]
    trained = [row for row in rows if row["train/total"]]
    assert [int(row["step"]) for row in trained] == [9, 11]
    # The steadiness counts at every second step; the total of the step of index 9 has none.
    parts = sum(float(trained[0][f"train/{name}"]) for name in terms[:-1])
    assert parts == pytest.approx(float(trained[0]["train/total"]), rel=1e-3)


def test_sheets(one_run: tuple[Path, TrainingResult]) -> None:
    folder, result = one_run
    names = sorted(path.name for path in (folder / "run" / "samples").iterdir())
    assert names == ["step_000006.png", "step_000012.png"]
    events = EventAccumulator(str(folder / "run" / "tensorboard"))
    events.Reload()
    images = events.Images("samples")
    assert [image.step for image in images] == [6, 12]
    sheet = load_image(folder / "run" / "samples" / "step_000012.png")
    assert (images[1].height, images[1].width) == sheet.shape[:2]
    assert "val/style_relu4_3" in events.Tags()["scalars"]
    assert load_image(result.sheet).shape[0] > 2 * 384  # two photos under one another


def test_checkpoint_holds_no_vgg(one_run: tuple[Path, TrainingResult]) -> None:
    path = one_run[0] / "run" / "last.ckpt"
    state = checkpoint_of(path.parent)["state_dict"]
    assert {name.partition(".")[0] for name in state} == {"network", "average"}
    assert path.stat().st_size < 1_000_000


def test_no_photo_is_both_trained_on_and_held_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, list[bytes]] = {"training_step": [], "validation_step": []}
    for name, batches in seen.items():
        original = getattr(StyleModule, name)

        def note(
            self: StyleModule, batch: Any, index: int, to: Any = batches, step: Any = original
        ) -> None:
            to.append(batch.numpy().tobytes())
            step(self, batch, index)

        monkeypatch.setattr(StyleModule, name, note)
    train(small(tmp_path / "run", "steps=3", "trainer.validate_every=2"))
    crops = PhotoDataModule(size=64, validation_photos=2).held_out_crops()
    held_out = [crop[None].numpy().tobytes() for crop in crops]
    assert seen["validation_step"] == held_out * 2  # after steps 2 and 3
    assert len(set(seen["training_step"])) == 3


def test_own_picture(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).random((70, 90, 3), dtype=np.float32)
    save_photo(picture, tmp_path / "my.png")
    cfg = compose(
        "style.name=mine",
        f"style.image={tmp_path / 'my.png'}",
        "style.title=My own",
        "style.year=2026",
        f"output_dir={tmp_path / 'run'}",
        "steps=1",
        *SMALL,
    )
    info = read_info(train(cfg).style_file)
    sha256 = hashlib.sha256((tmp_path / "my.png").read_bytes()).hexdigest()
    expected = StyleInfo("mine", "My own", year=2026, style_image_sha256=sha256)
    assert dataclasses.replace(info, training={}) == expected
    assert info.training["style_picture_size"] == [90, 70]


def test_picture_that_goes_away_while_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "my.png"
    save_photo(np.random.default_rng(0).random((64, 64, 3), dtype=np.float32), path)
    original = training._run_trainer

    def run_trainer(*arguments: Any) -> None:
        path.unlink()
        original(*arguments)

    monkeypatch.setattr(training, "_run_trainer", run_trainer)
    settings = ("style.name=mine", f"style.image={path}", f"output_dir={tmp_path}/run", "steps=1")
    assert read_info(train(compose(*settings, *SMALL)).style_file).style_image_sha256


def test_training_ends_by_time(tmp_path: Path) -> None:
    result = train(small(tmp_path / "run", "minutes=0.02"))  # 1.2 seconds
    facts = read_info(result.style_file).training
    assert facts["steps"] >= 1
    assert facts["minutes"] >= 0.02
    seconds = checkpoint_of(tmp_path / "run")["fststyle"]["seconds"]
    assert 1.2 <= seconds == pytest.approx(60 * facts["minutes"], abs=0.4)


def test_no_copy_without_install(tmp_path: Path, data_home: Path) -> None:
    assert train(small(tmp_path / "run", "steps=1")).installed is None
    assert not data_home.exists()


def test_older_network_is_kept(
    tmp_path: Path, data_home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = data_home / "fststyle" / "styles"
    folder.mkdir(parents=True)
    (folder / "thanos_poster.onnx").write_bytes(b"an older one")
    caplog.set_level("INFO")
    result = train(small(tmp_path / "run", "steps=1", "install=true"))
    assert result.installed == folder / "thanos_poster.onnx"
    assert result.installed.read_bytes() == result.style_file.read_bytes()
    assert (folder / "thanos_poster-previous.onnx").read_bytes() == b"an older one"
    assert "replaces an older one, which is now called thanos_poster-previous" in caplog.text


def test_interrupted_run_replaces_nothing(
    tmp_path: Path, data_home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "run.onnx"
    file.write_bytes(b"of this run")
    assert find.install(file, interrupted=True) is not None  # nothing is there yet
    file.write_bytes(b"of a later run")
    assert find.install(file, interrupted=True) is None
    folder = data_home / "fststyle" / "styles"
    assert [path.name for path in folder.iterdir()] == ["run.onnx"]
    assert (folder / "run.onnx").read_bytes() == b"of this run"
    assert str(file) in caplog.text


def test_copy_that_cannot_be_made_is_told(
    tmp_path: Path, data_home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data_home.touch()
    result = train(small(tmp_path / "run", "steps=1", "install=true"))
    assert result.installed is None
    assert "Cannot copy the style to" in caplog.text
    assert status_of(tmp_path / "run") == "finished"


def test_report_that_cannot_be_made_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise FststyleError("The disk is full.")

    monkeypatch.setattr("fststyle.perceptual.evaluate.evaluate", fail)
    result = train(small(tmp_path / "run", "steps=1", "report=true"))
    assert result.report is None
    assert "The disk is full." in caplog.text
    assert result.style_file.is_file()


def test_run_without_callbacks_and_logs(tmp_path: Path) -> None:
    result = train(small(tmp_path / "run", "steps=1", "~callbacks", "~logger"))
    files = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert files == ["run.json", "sheet.png", "thanos_poster.onnx"]
    assert read_info(result.style_file).training["held_out"]


# The same to the bit


def test_same_seed_same_style(tmp_path: Path) -> None:
    torch.manual_seed(1)
    train(small(tmp_path / "one", "steps=3"))
    torch.manual_seed(2)
    # Beside the steps, everything happens at other moments.
    other = (
        "trainer.validate_every=1",
        "callbacks.checkpoint.every_steps=1",
        "callbacks.sheets=null",
    )
    train(small(tmp_path / "two", "steps=3", *other))
    assert_same_run(tmp_path / "two", tmp_path / "one")
    train(small(tmp_path / "three", "steps=3", "seed=1"))
    weights = [checkpoint_of(tmp_path / name)["state_dict"] for name in ("one", "three")]
    first = next(name for name in weights[0] if weights[0][name].ndim == 4)
    assert not weights[0][first].equal(weights[1][first])


@pytest.mark.force
@pytest.mark.parametrize("dial", ["false", "true"])
def test_run_that_is_killed_and_resumed(dial: str, tmp_path: Path) -> None:
    """Processes of their own: one is killed between two checkpoints, another goes on."""
    arguments = (
        "style=thanos_poster",
        *SMALL,
        "steps=8",
        "callbacks.checkpoint.every_steps=2",
        "trainer.validate_every=3",
        "trainer.warmup_steps=2",
        "steady.weight=1",
        f"network.dial={dial}",
    )
    killed = start(tmp_path / "killed", *arguments, kill_at=7, poisoned=(3, 6))
    assert killed.wait() == -signal.SIGKILL
    folder = newest_folder(tmp_path / "killed")
    before = checkpoint_of(folder)
    assert before["fststyle"]["steps_made"] == 6
    assert before["fststyle"]["guard"]["rollbacks"] == 1
    assert not list(folder.glob("*.onnx"))
    # The steps that fail count for the data: the rest of the run sees the same photos.
    resumed = start(tmp_path / "killed", *arguments, "resume=auto", poisoned=(3, 6))
    whole = start(tmp_path / "whole", *arguments, poisoned=(3, 6))
    assert resumed.wait() == whole.wait() == 0
    assert newest_folder(tmp_path / "killed") == folder  # Hydra's new folder is gone
    assert_same_run(folder, newest_folder(tmp_path / "whole"))
    after = checkpoint_of(folder)["fststyle"]
    assert (after["steps_made"], after["held_out_at"]) == (8, 8)
    assert (after["guard"]["rollbacks"], after["guard"]["pace"]) == (2, 0.25)
    assert f"Resuming {folder} at step 6" in resumed.err
    assert "2 steps failed; training returned to the last good weights" in resumed.err
    assert read_info(folder / "thanos_poster.onnx").training["rollbacks"] == 2
    assert resumed.out.startswith(f"Style file    {folder}/thanos_poster.onnx\n")
    assert [row["step"] for row in metrics_of(folder, 6) if row["val/total"]][-1] == "7"
    assert status_of(folder) == "finished"


@pytest.mark.force
def test_run_that_is_killed_at_any_moment(tmp_path: Path) -> None:
    """In the middle of writing a checkpoint, and twice whenever it happens to be."""
    arguments = (
        "style=thanos_poster",
        *SMALL,
        "steps=40",
        "callbacks.checkpoint.every_steps=1",
        "callbacks.sheets=null",
    )
    torn = start(tmp_path / "killed", *arguments, torn_at=3)
    assert torn.wait() == -signal.SIGKILL
    folder = newest_folder(tmp_path / "killed")
    assert list(folder.glob(".last.ckpt.*"))
    assert checkpoint_of(folder)["fststyle"]["steps_made"] == 2
    moments = random.Random(0)
    for _ in range(2):
        before = (folder / "last.ckpt").stat().st_ino
        run = start(tmp_path / "killed", *arguments, "resume=auto")
        while run.process.is_alive() and (folder / "last.ckpt").stat().st_ino == before:
            time.sleep(0.001)
        time.sleep(moments.uniform(0, 0.3))
        run.process.kill()
        run.wait()
    assert start(tmp_path / "killed", *arguments, "resume=auto").wait() == 0
    assert start(tmp_path / "whole", *arguments).wait() == 0
    assert_same_run(folder, newest_folder(tmp_path / "whole"))
    assert not list(folder.glob(".*"))


def test_disk_that_is_full(tmp_path: Path) -> None:
    arguments = (
        "style=thanos_poster",
        *SMALL,
        "steps=5",
        "callbacks.checkpoint.every_steps=1",
        "callbacks.sheets=null",
    )
    full = start(tmp_path, *arguments, full_at=3)
    assert full.wait() == 1
    folder = newest_folder(tmp_path)
    assert full.err.splitlines()[-1] == (
        f"Error: The disk is full: File too large, in {folder}. Free some space, then run the same "
        "command with resume=auto."
    )
    assert "Traceback" not in full.err
    assert checkpoint_of(folder)["fststyle"]["steps_made"] == 2
    assert not list(folder.glob(".*"))
    resumed = start(tmp_path, *arguments, "resume=auto")
    assert resumed.wait() == 0
    assert f"Resuming {folder} at step 2" in resumed.err
    assert read_info(folder / "thanos_poster.onnx").training["steps"] == 5


@pytest.mark.force
@pytest.mark.parametrize("moment", ["on_train_batch_end", "on_validation_end", "on_train_end"])
def test_run_that_dies_after_its_last_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    settings = ("steps=2", "callbacks.checkpoint.every_steps=1")
    train(small(tmp_path / "whole" / "a", *settings))
    with monkeypatch.context() as patch:
        if moment == "on_train_end":

            def die(*_: object) -> None:
                raise ZeroDivisionError

            patch.setattr(training, "save_style", die)
        else:

            def die_at_the_end(self: StyleModule, *_: object) -> None:
                if self.steps_made == 2:
                    raise ZeroDivisionError

            patch.setattr(StyleModule, moment, die_at_the_end, raising=False)
        with pytest.raises(ZeroDivisionError):
            train(small(tmp_path / "dead" / "a", *settings))
    train(small(tmp_path / "dead" / "b", *settings, "resume=auto"))
    assert not (tmp_path / "dead" / "b").exists()
    assert_same_run(tmp_path / "dead" / "a", tmp_path / "whole" / "a")


# Going on


def crashed(folder: Path, *settings: str) -> None:
    """A run that was ended by a bug at its second step of three, after a checkpoint."""
    with pytest.MonkeyPatch.context() as monkeypatch:

        def training_step(self: StyleModule, batch: Any, index: int) -> None:
            if self.steps_made == 1:
                raise ZeroDivisionError
            original(self, batch, index)

        original = StyleModule.training_step
        monkeypatch.setattr(StyleModule, "training_step", training_step)
        with pytest.raises(ZeroDivisionError):
            train(small(folder, "steps=3", "callbacks.checkpoint.every_steps=1", *settings))


def test_resume_with_other_limits_or_other_settings(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    crashed(tmp_path / "a")
    with raises(TrainingError, "other_settings", "network.width, seed, steady.seed"):
        train(
            small(
                tmp_path / "b", "steps=3", "network.width=5", "seed=1", "data.seed=0", "resume=auto"
            )
        )
    with caplog.at_level(logging.INFO):
        result = train(small(tmp_path / "b", "steps=2", "minutes=3", "resume=auto", "install=true"))
    assert result.style_file.parent == tmp_path / "a"
    assert "at step 1" in caplog.text
    assert read_info(result.style_file).training["steps"] == 2
    caplog.clear()
    with caplog.at_level(logging.INFO):
        result = train(small(tmp_path / "c", "steps=1", "resume=auto"))
    assert result.style_file.parent == tmp_path / "c"
    assert "No unfinished run to resume" in caplog.text


def test_resume_from_a_damaged_checkpoint(tmp_path: Path) -> None:
    crashed(tmp_path / "a")
    path = tmp_path / "a" / "last.ckpt"
    path.write_bytes(path.read_bytes()[:5000])
    (tmp_path / "a" / "previous.ckpt").unlink(missing_ok=True)
    with raises(TrainingError, "damaged", "last.ckpt"):
        train(small(tmp_path / "b", "steps=3", "resume=auto"))


# Signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_the_run_with_its_style_file(tmp_path: Path, number: signal.Signals) -> None:
    arguments = ("style=ink_wash", *SMALL, "minutes=30", "callbacks.checkpoint.every_steps=1")
    run = start(tmp_path, *arguments)
    run.wait_for("outputs/*/*/last.ckpt")
    assert run.process.pid is not None
    with raises(TrainingError, "locked", newest_folder(tmp_path)):
        train(small(newest_folder(tmp_path).parent / "new", "resume=auto", style="ink_wash"))
    os.kill(run.process.pid, number)
    assert run.wait() == INTERRUPTED == 130
    folder = newest_folder(tmp_path)
    assert status_of(folder) == "interrupted"
    info = read_info(folder / "ink_wash.onnx")
    assert info.training["steps"] == checkpoint_of(folder)["fststyle"]["steps_made"] >= 1
    assert run.out.startswith(f"Style file    {folder}/ink_wash.onnx\n")
    assert (folder / "sheet.png").is_file()
    assert "Traceback" not in run.err
    assert run.err.endswith("Training was interrupted; resume=auto continues this run.\n")
    steps = int(info.training["steps"]) + 1
    log_before = metrics_of(folder)
    assert log_before[-1]["val/total"]
    cfg = small(folder.parent / "new", f"steps={steps}", "resume=auto", style="ink_wash")
    assert train(cfg).style_file == folder / "ink_wash.onnx"
    assert checkpoint_of(folder)["fststyle"]["steps_made"] == steps
    assert metrics_of(folder) == log_before
    assert metrics_of(folder, steps - 1)


def test_second_interrupt_ends_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def training_step(self: StyleModule, batch: Any, index: int) -> None:
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(StyleModule, "training_step", training_step)
    with pytest.raises(KeyboardInterrupt):
        train(small(tmp_path / "run", "steps=2"))
    assert signal.getsignal(signal.SIGINT) is before


# Training that fails


def test_run_that_diverges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(StyleModule, "training_step", poison(range(30, 99)))
    settings = ("steps=40", "callbacks.checkpoint.every_steps=7")
    with pytest.raises(DivergedError) as caught:
        train(small(tmp_path / "run", *settings))
    path = tmp_path / "run" / "thanos_poster.onnx"
    assert str(caught.value).startswith("Training diverges: 5 steps failed with fewer than 100")
    assert str(caught.value).endswith(f"The last good weights are in {path}.")
    assert "\n" not in str(caught.value)
    network, info = load_style(path)
    assert (info.training["steps"], info.training["rollbacks"]) == (35, 5)
    assert all(bool(value.isfinite().all()) for value in network.state_dict().values())
    assert status_of(tmp_path / "run") == "failed"
    told = [message for message in caplog.messages if "back to the weights of step 25" in message]
    assert len(told) == 5
    # It would diverge again: what comes next is a new run.
    assert find_resumable(tmp_path / "next", {"style": {"name": "thanos_poster"}}, "auto") is None


def test_run_without_one_good_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StyleModule, "training_step", poison(range(99)))
    with raises(DivergedError, "diverged", "5 steps failed"):
        train(small(tmp_path / "run", "steps=20"))
    assert not list(tmp_path.rglob("*.onnx"))
    with raises(TrainingError, "no_steps"):
        train(small(tmp_path / "run", "steps=1"))


@pytest.mark.engines
@pytest.mark.parametrize("rate", ["1e-9", "10"])
def test_loss_that_does_not_fall_ends_the_run(tmp_path: Path, rate: str) -> None:
    run = start(
        tmp_path, "style=thanos_poster", *SMALL, "steps=110", "optim=adam", f"optim.lr={rate}"
    )
    assert run.wait() == 1
    last = run.err.splitlines()[-1]
    assert last.startswith("Error: ")
    assert "100 steps" in last
    assert "optim.lr" in last
    assert "Traceback" not in run.err
    assert status_of(newest_folder(tmp_path)) == "failed"


# Photographs


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three photos in folders within one another, and two that are broken."""
    folder = tmp_path / "photos"
    (folder / "a" / "b").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("one.jpg", "a/two.png", "a/b/three.JPG"):
        data = rng.random((80, 100, 3), dtype=np.float32)
        save_photo(data, folder / name)
    (folder / "a" / "empty.jpg").touch()
    (folder / "cut.jpg").write_bytes((folder / "one.jpg").read_bytes()[:200])
    return folder


@pytest.mark.parametrize("workers", [0, 1])
def test_broken_photos_are_told_at_the_end(
    tmp_path: Path,
    photos: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    workers: int,
) -> None:
    report = tmp_path / "report.md"

    def write_report(*arguments: Any) -> Path:
        report.write_text(about_the_run(arguments[-1]))
        return report

    monkeypatch.setattr("fststyle.training.report.write_report", write_report)
    settings = ("data=folder", f"data.root={photos}", f"data.num_workers={workers}", "report=true")
    result = train(small(tmp_path / "run", "steps=6", *settings))
    messages = caplog.messages
    for name in ("a/empty.jpg", "cut.jpg"):
        assert sum(message.startswith(f"Skipped: {photos / name} ") for message in messages) == 1
        assert name in report.read_text()
    assert "2 files were skipped; they could not be read." in messages
    assert "- 2 files were skipped; they could not be read." in report.read_text()
    whole = [photos / name for name in ("one.jpg", "a/two.png", "a/b/three.JPG")]
    usable = sum(not is_held_out(path) for path in whole)
    assert read_info(result.style_file).training["photos"] == usable


def write_photo(path: Path, image: Image.Image, **options: Any) -> None:
    """Save an image under a hash by which it is trained on."""
    for attempt in range(100):
        image.putpixel((0, 0), attempt if len(image.getbands()) == 1 else (attempt,) * 3)
        image.save(path, **options)
        if not is_held_out(path):
            return


def test_folder_of_odd_and_broken_files(tmp_path: Path) -> None:
    """What is odd is trained on, what is broken is told of, and what is neither is let be."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)

    def noise() -> Image.Image:
        small_noise = rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)
        return Image.fromarray(small_noise).resize((96, 72), Image.Resampling.BICUBIC)

    for index in range(34):
        write_photo(folder / f"{index:02d}.jpg", noise())
    write_photo(folder / "grey.jpg", noise().convert("L"))
    write_photo(folder / "palette.png", noise().quantize(64))
    frames = [noise() for _ in range(3)]
    write_photo(folder / "animated.webp", frames[0], save_all=True, append_images=frames[1:])
    deep = rng.integers(0, 65536, (72, 96), dtype=np.uint16)
    write_photo(folder / "deep.png", Image.fromarray(deep))
    for attempt in range(100):  # CMYK has no pixels of three numbers
        noise().convert("CMYK").save(folder / "cmyk.jpg", quality=90 - attempt % 50)
        if not is_held_out(folder / "cmyk.jpg"):
            break
    usable = len(list(folder.iterdir()))
    (folder / "empty.jpg").touch()
    (folder / "text.jpg").write_text("not a photo")
    whole = (folder / "00.jpg").read_bytes()
    (folder / "half.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "link.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (folder / "folder.jpg").mkdir()
    broken = ("empty", "text", "half", "link")
    steps = usable + len(broken)  # an epoch: every file has its turn
    run = start(
        tmp_path / "work",
        "style=thanos_poster",
        *SMALL,
        "data=folder",
        f"data.root={folder}",
        f"steps={steps}",
        "callbacks.sheets=null",
    )
    assert run.wait() == 0, run.err
    lines = run.err.splitlines()
    for name in broken:
        path = folder / f"{name}.jpg"
        assert sum(line.startswith("Skipped") and str(path) in line for line in lines) == 1
    assert sum(f"{len(broken)} files were skipped" in line for line in lines) == 1
    assert sum("Skipped" in line for line in lines) == len(broken)
    (style_file,) = (tmp_path / "work").rglob("*.onnx")
    assert read_info(style_file).training["photos"] == usable


@pytest.mark.parametrize("workers", [0, 1])
def test_folder_of_broken_photos(tmp_path: Path, workers: int) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "empty.jpg").touch()
    settings = ("data=folder", f"data.root={tmp_path}/photos", f"data.num_workers={workers}")
    with raises(PhotoError, "no_photos", "1 cannot be read", "data.root=PHOTOS"):
        train(small(tmp_path / "run", "steps=2", *settings))


def test_empty_and_missing_folder(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for root, code in (("photos", "no_photos"), ("gone", "no_folder")):
        with raises(PhotoError, code):
            train(small(tmp_path / "run", "data=folder", f"data.root={tmp_path / root}"))
    assert not (tmp_path / "run").exists()


# Pictures and places that will not do


def test_picture_that_is_too_small_or_broken(tmp_path: Path) -> None:
    save_photo(np.zeros((1, 1, 3), np.float32), tmp_path / "dot.png")
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    for name, error in (("dot.png", SettingError), ("broken.jpg", PhotoError)):
        settings = ("style.name=mine", f"style.image={tmp_path / name}", f"output_dir={tmp_path}/r")
        with pytest.raises(error) as caught:
            train(compose(*settings, *SMALL, "steps=1"))
        assert "\n" not in str(caught.value)
        assert isinstance(caught.value, FststyleError)
    assert not list(tmp_path.rglob("*.onnx"))


def test_unknown_picture(tmp_path: Path) -> None:
    with raises(StyleError, "unknown_style", "ink_wash"):
        train(small(tmp_path / "run", "style.image=ink_wsh"))


def test_disk_that_fills_while_checkpoints_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = pl.Trainer.save_checkpoint

    def save(self: Any, path: Path, *arguments: Any, **options: Any) -> None:
        original(self, path, *arguments, **options)
        if self.lightning_module.steps_made > 1:
            path.write_bytes(path.read_bytes()[:1000])
            raise OSError(errno.ENOSPC, "No space left on device")

    settings = ("steps=3", "callbacks.checkpoint.every_steps=1")
    with monkeypatch.context() as patch:
        patch.setattr(pl.Trainer, "save_checkpoint", save)
        with raises(TrainingError, "disk_full", "No space left", "resume=auto"):
            train(small(tmp_path / "run", *settings))
    assert checkpoint_of(tmp_path / "run")["fststyle"]["steps_made"] == 1
    assert status_of(tmp_path / "run") == "running"
    assert not list((tmp_path / "run").glob(".*"))
    result = train(small(tmp_path / "run", *settings, "resume=auto"))
    assert read_info(result.style_file).training["steps"] == 3


def test_disk_that_fills_while_logs_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pytorch_lightning.loggers.csv_logs.CSVLogger.save", full)
    with raises(TrainingError, "disk_full", "No space left", "resume=auto"):
        train(small(tmp_path / "run", "steps=3"))


def test_disk_that_fills_while_the_style_file_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise FststyleError(f"{path} cannot be written: the disk is full.")

    with monkeypatch.context() as patch:
        patch.setattr(stylefile, "write_atomically", full)
        with pytest.raises(FststyleError, match=r"thanos_poster\.onnx cannot be written"):
            train(small(tmp_path / "run", "steps=2"))
    assert not list(tmp_path.rglob("*.onnx"))
    # With room, the run is there to be finished, without another step.
    result = train(small(tmp_path / "run", "steps=2", "resume=auto"))
    assert read_info(result.style_file).training["steps"] == 2


def test_memory_of_the_gpu_that_is_too_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(TransformerNet, "forward", full)
    with raises(TrainingError, "out_of_memory", "data.batch_size"):
        train(small(tmp_path / "run", "steps=2"))


# Several styles


def test_several_styles(tmp_path: Path) -> None:
    settings = [setting for setting in SMALL if setting != "install=false"]
    run = start(tmp_path, "-m", "style=ink_wash,stained_glass", *settings, "steps=1")
    assert run.wait() == 0, run.err
    for style in ("ink_wash", "stained_glass"):
        (path,) = tmp_path.glob(f"outputs/{style}/*/{style}.onnx")
        assert read_info(path).name == style
        installed = tmp_path / "data_home" / "fststyle" / "styles" / path.name
        assert installed.read_bytes() == path.read_bytes()
        assert f"Style file    {path}\n" in run.out
        assert f"--style {style} -o" in run.out
    assert len(list(tmp_path.glob("outputs/*/*"))) == 2


def test_sweep_goes_on_after_a_job_that_fails(tmp_path: Path) -> None:
    settings = [*(setting for setting in SMALL if setting != "install=false"), "steps=1"]
    run = start(tmp_path, "-m", "style=ink_wash", *settings, "loss.style_weight=0.25,-1,1")
    assert run.wait() == 1
    assert "Error: " in run.err
    assert len(list(tmp_path.glob("outputs/ink_wash/*/ink_wash.onnx"))) == 2
    assert "Several networks were trained for ink_wash, so none was installed" in run.err
    assert not (tmp_path / "data_home").exists()
    (sheet,) = tmp_path.glob("outputs/sweep_*.png")
    assert f"Sweep sheet   {sheet}\n" in run.out
    picture = load_image(sheet)
    assert picture.shape[0] > 3 * 320  # a row for each held-out photo


# Gates


def test_network_with_a_fault_is_not_installed(tmp_path: Path) -> None:
    settings = [s for s in SMALL if s not in ("install=false", "trainer.gates=false")]
    run = start(tmp_path, "style=ink_wash", *settings, "steps=1")
    assert run.wait() == 1
    (path,) = tmp_path.glob("outputs/*/*/ink_wash.onnx")
    assert not (tmp_path / "data_home").exists()
    assert f"use its file: {path}." in run.err
    assert run.out.startswith(f"Style file    {path}\n")
    assert " of 9 passed\n" in run.out
    assert "Use it" not in run.out
    assert status_of(path.parent) == "finished"
    assert set(read_info(path).training["gates"]) == set(gates.LIMITS)


def test_report_tells_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = (gates.Gate("blur", 2.0, 1.3, "face", "It is blurred."),)
    monkeypatch.setattr("fststyle.training.gates.check", lambda *_, **__: found)

    def write(_: object, folder: Path) -> Path:
        (folder / "report.md").write_text("# ink_wash: equals 3\n")
        return folder / "report.md"

    monkeypatch.setattr("fststyle.perceptual.evaluate.evaluate", lambda *_, **__: None)
    monkeypatch.setattr("fststyle.perceptual.evaluate.write_report", write)
    settings = ("steps=2", "report=true", "install=true", "trainer.gates=true")
    result = train(small(tmp_path / "run $1", *settings))
    assert result.gates == found
    assert result.installed is None
    assert result.report is not None
    text = result.report.read_text()
    assert text.startswith("# ink_wash: equals 3\n")
    for part in (
        "](sheet.png)",
        "](report_training.png)",
        "| blur | 2.000 | 1.3 | **no** | face | 1 |",
        "It is blurred.",
        "2 steps in ",
        '"style_sizes": [',
        f"fststyle stylize photo.jpg --style {shell_word(result.style_file)} -o out.jpg",
        f"fststyle evaluate --style {shell_word(result.style_file)} photo.jpg",
    ):
        assert part in text
    assert (tmp_path / "run $1" / "report_training.png").is_file()
    assert read_info(result.style_file).training["gates"] == {"blur": 2.0}
