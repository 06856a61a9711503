from __future__ import annotations

import errno
import json
import logging
import os
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from errors_help import raises
from torch import Tensor, nn

from fststyle.errors import DivergedError, PhotoError, SettingError
from fststyle.images.load import load_image
from fststyle.images.save import save_photo
from fststyle.styles.network import TransformerNet
from fststyle.training import callbacks
from fststyle.training.callbacks import (
    FiniteGuard,
    ResumeCheckpoint,
    SafeCheckpointIO,
    SampleSheets,
    StopSignals,
    TrainingProgress,
    stylise_with,
)
from fststyle.training.guards import StepGuard


class Negative(nn.Module):
    """A network whose output is known."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Parameter(torch.ones(1))

    def forward(self, photo: Tensor) -> Tensor:
        return self.one - photo


class Module:
    """A stand-in for StyleModule: where the run stands."""

    def __init__(self, done: float = 0.0, steps_made: int = 0) -> None:
        self.done, self.steps_made, self.guard = done, steps_made, StepGuard()
        self.average = SimpleNamespace(module=Negative())

    def progress(self) -> float:
        return self.done

    def recent_losses(self) -> str:
        return "total 0.5"


def step(callback: Any, module: Module, trainer: Any = None) -> None:
    trainer = SimpleNamespace(loggers=[]) if trainer is None else trainer
    callback.on_train_batch_end(trainer, module, None, None, 0)


# Sheets


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    save_photo(np.full((40, 60, 3), 0.25, np.float32), path)
    return path


def test_stylise_with(small_network: TransformerNet) -> None:
    pixels = np.random.default_rng(0).random((33, 21, 3), dtype=np.float32)
    with torch.no_grad():
        expected = small_network(torch.from_numpy(pixels).permute(2, 0, 1)[None])[0]
    actual = stylise_with(small_network, pixels)
    np.testing.assert_array_equal(actual, expected.permute(1, 2, 0).numpy())


def test_sheets_are_drawn_at_their_moments(tmp_path: Path, photo: Path) -> None:
    sheets = SampleSheets(tmp_path / "samples", [photo], at=(0.5, 0.2, 1.0))
    module = Module()
    sheets.on_train_start(None, module)  # type: ignore[arg-type]
    for steps_made, done in enumerate((0.1, 0.2, 0.3, 0.49, 0.51, 0.9, 1.0, 1.0)):
        module.steps_made, module.done = steps_made, done
        step(sheets, module)
    names = [path.name for path in sorted((tmp_path / "samples").iterdir())]
    assert names == ["step_000001.png", "step_000004.png", "step_000006.png"]


def test_sheet_has_the_photo_and_the_picture(tmp_path: Path, photo: Path) -> None:
    sheets = SampleSheets(tmp_path / "samples", [photo], at=(0.5,))
    step(sheets, Module(0.6, 7))
    sheet = load_image(tmp_path / "samples" / "step_000007.png")
    middle = sheet[sheet.shape[0] // 2]
    values = np.round(middle[[sheet.shape[1] // 4, 3 * sheet.shape[1] // 4], 0], 2)
    assert values.tolist() == pytest.approx([0.25, 0.75], abs=0.01)


def test_moments_that_are_past_are_not_drawn_again(tmp_path: Path, photo: Path) -> None:
    sheets = SampleSheets(tmp_path / "samples", [photo], at=(0.2, 0.5))
    module = Module(0.4, 40)
    sheets.on_train_start(None, module)  # type: ignore[arg-type]
    step(sheets, module)
    assert not (tmp_path / "samples").exists()


def test_sheet_that_cannot_be_written_is_told(
    tmp_path: Path, photo: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "samples").touch()
    sheets = SampleSheets(tmp_path / "samples", [photo], at=(0.5,))
    step(sheets, Module(0.6))
    assert "Cannot write a sample sheet to" in caplog.text


def test_disk_that_fills_while_a_sheet_is_written(
    tmp_path: Path,
    photo: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object) -> None:
        raise PhotoError("The disk is full.")

    monkeypatch.setattr(callbacks, "save_photo", full)
    step(SampleSheets(tmp_path, [photo], at=(0.5,)), Module(0.6))
    assert "Cannot write a sample sheet to" in caplog.text
    assert "The disk is full." in caplog.text


@pytest.mark.parametrize("at", [(0.0,), (1.1,), (0.5, -1)])
def test_sheets_refuse(tmp_path: Path, at: tuple[float, ...]) -> None:
    with raises(SettingError, "setting", "callbacks.sheets.at"):
        SampleSheets(tmp_path, [], at=at)


# Checkpoints


class Saver:
    """A stand-in for a trainer that saves, or fails to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.saved = 0
        self.error = error

    def save_checkpoint(self, path: Path) -> None:
        path.write_bytes(b"half" if self.error else b"whole")
        if self.error:
            raise self.error
        self.saved += 1


def test_checkpoint_by_steps(tmp_path: Path) -> None:
    checkpoint, saver = ResumeCheckpoint(tmp_path / "last.ckpt", every_steps=3), Saver()
    saved = []
    for steps_made in range(1, 8):
        step(checkpoint, Module(steps_made=steps_made), saver)
        saved.append(saver.saved)
    assert saved == [0, 0, 1, 1, 1, 2, 2]


def test_checkpoint_by_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("fststyle.training.callbacks.time.monotonic", lambda: now[0])
    checkpoint, saver = ResumeCheckpoint(tmp_path / "last.ckpt", every_seconds=60), Saver()
    now[0] = 50.0
    checkpoint.on_train_start(saver, Module())  # type: ignore[arg-type]
    saved = []
    for seconds in (60, 109, 111, 112, 170, 172):
        now[0] = float(seconds)
        step(checkpoint, Module(), saver)
        saved.append(saver.saved)
    assert saved == [0, 0, 1, 1, 1, 2]


def test_checkpoint_at_the_end(tmp_path: Path) -> None:
    ResumeCheckpoint(tmp_path / "last.ckpt").on_train_end(Saver(), Module())  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


def test_disk_that_fills_while_a_checkpoint_is_written(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    path.write_bytes(b"old")
    error = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(OSError, match="No space left"):
        step(ResumeCheckpoint(path, every_steps=1), Module(steps_made=1), Saver(error))
    assert path.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


def test_previous_checkpoint_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    checkpoint = ResumeCheckpoint(path, every_steps=1)
    for content in (b"first", b"second", b"third"):
        trainer = SimpleNamespace(save_checkpoint=lambda at, data=content: at.write_bytes(data))
        checkpoint.save(trainer)  # type: ignore[arg-type]
    assert path.read_bytes() == b"third"
    assert (tmp_path / "previous.ckpt").read_bytes() == b"second"
    assert len(list(tmp_path.iterdir())) == 2


def test_checkpoint_is_written_in_place(tmp_path: Path) -> None:
    state = {"weights": torch.arange(3), "steps": 2}
    SafeCheckpointIO().save_checkpoint(state, tmp_path / "x.ckpt")
    loaded = torch.load(tmp_path / "x.ckpt", weights_only=True)
    assert loaded["steps"] == 2
    assert loaded["weights"].equal(state["weights"])
    if Path("/dev/full").exists():
        with pytest.raises(OSError, match="No space left"):
            SafeCheckpointIO().save_checkpoint(state, Path("/dev/full"))


def test_rest_of_a_kill_is_removed(tmp_path: Path) -> None:
    for name in (".last.ckpt.123", "last.ckpt", ".other"):
        (tmp_path / name).touch()
    checkpoint = ResumeCheckpoint(tmp_path / "last.ckpt")
    checkpoint.on_train_start(Saver(), Module())  # type: ignore[arg-type]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other", "last.ckpt"]


@pytest.mark.parametrize("interval", [{"every_seconds": 0}, {"every_steps": 0}])
def test_checkpoint_refuses(tmp_path: Path, interval: dict[str, int]) -> None:
    with raises(SettingError, "setting", "callbacks.checkpoint.every_s"):
        ResumeCheckpoint(tmp_path / "last.ckpt", **interval)


# Progress


def test_progress_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [100.0]
    monkeypatch.setattr("fststyle.training.callbacks.time.monotonic", lambda: now[0])
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    progress, module = TrainingProgress(every_seconds=30), Module(0.2)
    progress.on_train_start(None, module)  # type: ignore[arg-type]
    with caplog.at_level(logging.INFO):
        for seconds, module.done in ((110, 0.25), (140, 0.3), (150, 0.4), (175, 0.35)):
            module.steps_made, now[0] = seconds, float(seconds)
            step(progress, module)
    # A tenth took 40 s, so the seven that are left take 280 s; then 0.15 took 75 s.
    assert caplog.messages == [
        " 30 %: 04:40 left, step 140, total 0.5",
        " 35 %: 05:25 left, step 175, total 0.5",
    ]


def test_progress_for_programs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    progress, module = TrainingProgress(json=True), Module()
    progress.on_train_start(None, module)  # type: ignore[arg-type]
    for seconds, module.done in ((100.5, 0.1), (102, 0.25), (102.5, 0.3), (102.6, 1.0)):
        module.steps_made, now[0] = round(seconds), float(seconds)
        step(progress, module)
    captured = capsys.readouterr()
    assert [json.loads(line) for line in captured.out.splitlines()] == [
        {"step": 102, "share": 0.25, "seconds_left": 6.0},
        {"step": 103, "share": 1.0, "seconds_left": 0.0},
    ]
    assert captured.err == ""


def test_progress_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    progress, module = TrainingProgress(), Module()
    progress.on_train_start(None, module)  # type: ignore[arg-type]
    module.done, module.steps_made = 1.0, 12
    step(progress, module)
    progress.on_train_end(None, module)
    assert "00:00 left, step 12, total 0.5" in capsys.readouterr().err


# Signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_stops_after_the_step(number: signal.Signals) -> None:
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    stop, trainer = StopSignals(), SimpleNamespace(should_stop=False)
    stop.on_train_start(trainer, Module())  # type: ignore[arg-type]
    try:
        os.kill(os.getpid(), number)
        assert (stop.received, trainer.should_stop) == (number, True)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        stop.on_train_end(trainer, Module())
    assert {n: signal.getsignal(n) for n in before} == before


def test_signals_are_given_back_after_an_error() -> None:
    before = signal.getsignal(signal.SIGINT)
    stop, trainer = StopSignals(), SimpleNamespace(should_stop=False)
    stop.on_train_start(trainer, Module())  # type: ignore[arg-type]
    assert signal.getsignal(signal.SIGINT) is not before
    stop.on_exception(trainer, Module(), ValueError())
    assert signal.getsignal(signal.SIGINT) is before
    assert stop.received is None


# Steps that fail


def test_finite_guard() -> None:
    guard, module = FiniteGuard(limit=3), Module()
    for failures in (0, 1, 2, 0, 1, 2):
        module.guard.rollbacks_in_a_row = failures
        step(guard, module)
    module.guard.judge(float("nan"), 1.0)
    module.guard.rollbacks_in_a_row = 3
    with raises(DivergedError, "diverged", "3 steps", "100 good steps", "its loss is not finite"):
        step(guard, module)


def test_finite_guard_refuses() -> None:
    with raises(SettingError, "setting", "callbacks.finite.limit"):
        FiniteGuard(limit=0)
