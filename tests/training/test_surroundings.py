"""Training in unusual surroundings: clusters, pauses, containers, network drives, other runs."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pytest
import torch
from errors_help import raises
from training_help import PATIENCE, SMALL, newest_folder, small, start

from fststyle.errors import SettingError, TrainingError
from fststyle.training.callbacks import stop_signals
from fststyle.training.data import PhotoDataModule
from fststyle.training.main import INTERRUPTED
from fststyle.training.module import Stopwatch, StyleModule
from fststyle.training.photo_crops import PhotoCrops
from fststyle.training.run_folder import Run
from fststyle.training.train import train


def status_of(folder: Path) -> str:
    return str(json.loads((folder / "run.json").read_text())["status"])


# Several runs that start in the same second


@pytest.mark.force
def test_three_runs_with_one_folder_name(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "now"
    arguments = ("style=ink_wash", *SMALL, "steps=2", f"hydra.run.dir={folder}")
    runs = [start(tmp_path / name, *arguments) for name in ("a", "b", "c")]
    assert [run.wait() for run in runs] == [0, 0, 0]
    assert sorted(path.name for path in folder.parent.iterdir()) == ["now", "now_2", "now_3"]
    for path in folder.parent.iterdir():
        assert status_of(path) == "finished"
        assert (path / "ink_wash.onnx").is_file()


def test_folder_with_a_number(tmp_path: Path) -> None:
    folder = tmp_path / "now"
    first, second = (Run.new(folder, {}, chosen=False) for _ in range(2))
    assert [first.folder, second.folder] == [folder, tmp_path / "now_2"]
    second.mark("finished")
    for run in (first, second):
        run.close()
    first.folder.rmdir()  # a run that did not start leaves an empty folder
    with Run.new(folder, {}, chosen=False) as third:
        assert third.folder == folder
        with raises(TrainingError, "locked", folder):
            Run.new(folder, {})
        with Run.new(folder, {}, chosen=False) as fourth:  # now_2 contains a finished run
            assert fourth.folder == tmp_path / "now_3"
    assert (tmp_path / "now_2" / "run.json").is_file()


def test_folder_that_disappears_before_it_is_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    removed: list[Path] = []
    whole = filelock.FileLock.acquire

    def acquire_late(self: Any, *arguments: Any, **options: Any) -> Any:
        if not removed:
            folder.rmdir()
            removed.append(folder)
        return whole(self, *arguments, **options)

    monkeypatch.setattr(filelock.FileLock, "acquire", acquire_late)
    with Run.new(folder, {}) as run:
        run.mark("running")
    assert removed
    assert status_of(folder) == "running"


# Clusters


def test_one_process_among_the_variables_of_a_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither waits for three other tasks nor reads or writes checkpoints of Lightning's own."""
    variables = {
        "SLURM_NTASKS": "4", "SLURM_JOB_ID": "1", "SLURM_JOB_NAME": "job", "SLURM_PROCID": "1",
        "SLURM_LOCALID": "1", "SLURM_NODEID": "0", "SLURM_NTASKS_PER_NODE": "4",
        "SLURM_JOB_NODELIST": "localhost",
    }  # fmt: skip
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "run"
    folder.mkdir()
    for place in (tmp_path, folder):
        (place / "hpc_ckpt_1.ckpt").write_bytes(b"of another style")
    seen = []
    step = StyleModule.training_step

    def training_step(self: StyleModule, *arguments: Any) -> None:
        seen.append(self.trainer.world_size)
        if len(seen) == 2:
            os.kill(os.getpid(), signal.SIGUSR1)
        step(self, *arguments)

    monkeypatch.setattr(StyleModule, "training_step", training_step)
    result = train(small(folder, "steps=9"))
    assert seen == [1, 1]
    assert result.interrupted
    assert status_of(folder) == "interrupted"
    assert sorted(tmp_path.rglob("hpc_ckpt*")) == sorted(
        place / "hpc_ckpt_1.ckpt" for place in (tmp_path, folder)
    )


# Signals and pauses


def test_ignored_signals_stay_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        assert signal.SIGHUP not in stop_signals()
    finally:
        signal.signal(signal.SIGHUP, before)
    assert {signal.SIGINT, signal.SIGTERM, signal.SIGHUP} <= set(stop_signals())


def test_closed_terminal_ends_the_run_with_its_style_file(tmp_path: Path) -> None:
    arguments = ("style=ink_wash", *SMALL, "minutes=30", "callbacks.checkpoint.every_steps=1")
    run = start(tmp_path, *arguments)
    run.wait_for("outputs/*/*/last.ckpt")
    assert run.process.pid is not None
    os.kill(run.process.pid, signal.SIGHUP)
    assert run.wait() == INTERRUPTED
    folder = newest_folder(tmp_path)
    assert status_of(folder) == "interrupted"
    assert (folder / "ink_wash.onnx").is_file()


class Clock:
    """The clocks of a process that works and is paused at will."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = self.busy = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(time, "process_time", lambda: self.busy)

    def work(self, seconds: float) -> None:
        self.now += seconds
        self.busy += seconds

    def wait(self, seconds: float) -> None:
        self.now += seconds


def test_pause_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    watch = Stopwatch(50.0)
    watch.start()
    for _ in range(4):
        clock.work(2.0)
        assert watch.lap() == 0
    clock.work(1.0)
    clock.wait(60.0)
    clock.work(1.0)
    assert watch.seconds() == pytest.approx(50 + 8 + 62)  # not yet known
    assert watch.lap() == pytest.approx(60)
    assert watch.seconds() == pytest.approx(50 + 10)
    clock.work(2.0)
    watch.stop()
    clock.wait(100.0)
    assert watch.seconds() == pytest.approx(50 + 12)
    watch.start()
    clock.work(3.0)
    assert watch.seconds() == pytest.approx(50 + 15)


def test_slow_work_and_short_waits_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    watch = Stopwatch()
    watch.start()
    for _ in range(4):
        clock.work(0.1)
        watch.lap()
    clock.work(30.0)  # a validation
    assert watch.lap() == 0
    clock.wait(4.0)  # a slow disk
    assert watch.lap() == 0
    for _ in range(40):  # a machine that is shared with many others
        clock.work(1.0)
        clock.wait(9.0)
        watch.lap()
    # The change to slow steps looks like a pause at first.
    assert 0.4 + 30 + 4 + 400 - 11 < watch.seconds() < 0.4 + 30 + 4 + 401


@pytest.mark.force
def test_stopped_process_trains_as_long_as_asked(tmp_path: Path) -> None:
    arguments = ("style=ink_wash", *SMALL, "minutes=0.1", "callbacks.checkpoint.every_steps=1")
    run = start(tmp_path, *arguments)
    run.wait_for("outputs/*/*/last.ckpt")
    assert run.process.pid is not None
    os.kill(run.process.pid, signal.SIGSTOP)
    time.sleep(20)
    os.kill(run.process.pid, signal.SIGCONT)
    assert run.wait() == 0
    assert "paused for" in run.err
    (folder,) = (tmp_path / "outputs" / "ink_wash").iterdir()
    facts = json.loads(folder.joinpath("run.json").read_text())
    assert facts["status"] == "finished"
    state = torch.load(folder / "last.ckpt", weights_only=True)["fststyle"]
    assert 6 <= state["seconds"] < 16


# Drives and containers


def test_drive_that_refuses_permissions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "replace", refuse)
    monkeypatch.setattr(os, "chmod", refuse)
    monkeypatch.setattr(Path, "chmod", refuse)
    monkeypatch.setattr(os, "fsync", refuse)
    monkeypatch.setattr(os, "utime", refuse)
    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(Path, "hardlink_to", refuse)
    folder = tmp_path / "run"
    train(small(folder, "steps=2", "callbacks.checkpoint.every_steps=1"))
    assert status_of(folder) == "finished"
    assert (folder / "previous.ckpt").is_file()
    train(small(tmp_path / "next", "steps=2"))


def test_run_folder_that_was_copied_elsewhere(tmp_path: Path) -> None:
    every = "callbacks.checkpoint.every_steps=1"
    train(small(tmp_path / "first", "steps=2", every))
    shutil.copytree(tmp_path / "first", tmp_path / "copy")
    shutil.rmtree(tmp_path / "first")
    facts = json.loads((tmp_path / "copy" / "run.json").read_text())
    (tmp_path / "copy" / "run.json").write_text(json.dumps({**facts, "status": "running"}))
    result = train(small(tmp_path / "copy", "steps=4", every, "resume=auto"))
    assert result.style_file.parent == tmp_path / "copy"
    assert status_of(tmp_path / "copy") == "finished"
    state = torch.load(tmp_path / "copy" / "last.ckpt", weights_only=True)
    assert state["global_step"] == 4
    assert not (tmp_path / "first").exists()


def test_crops_do_not_travel_through_shared_memory() -> None:
    data = PhotoDataModule(size=64, num_workers=1, validation_photos=1)
    batch = next(iter(data.train_dataloader()))
    assert isinstance(batch["photo"], np.ndarray)
    assert batch["photo"].shape == (1, 3, 64, 64)


@pytest.mark.force
@pytest.mark.skipif(sys.platform != "linux", reason="mounts are those of Linux")
def test_tiny_shared_memory(tmp_path: Path) -> None:
    arguments = ["style=ink_wash", *SMALL, "steps=2", "data.num_workers=2", "data.size=512"]
    train_line = [sys.executable, "-m", "fststyle.training", *arguments]
    script = 'mount -t tmpfs -o size=512k tmpfs /dev/shm && exec "$@"'
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rm", "true"], check=False).returncode:
        pytest.skip("namespaces cannot be made here")
    done = subprocess.run(
        [unshare, "-rm", "sh", "-c", script, "sh", *train_line],
        cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    if "mount:" in done.stderr:
        pytest.skip("file systems cannot be mounted here")
    assert done.returncode == 0, done.stderr


def test_no_shared_memory_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    class Context:
        def Lock(self) -> None:  # noqa: N802
            raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(multiprocessing, "get_context", Context)
    with raises(SettingError, "no_shared_memory", "data.num_workers=0"):
        PhotoDataModule(size=64, num_workers=2)


def test_killed_worker_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(PhotoCrops, "__getitems__", die)
    with raises(TrainingError, "worker_died", "data.num_workers"):
        train(small(tmp_path / "run", "steps=2", "data.num_workers=1"))


def test_modules_of_the_current_folder_are_not_imported(tmp_path: Path) -> None:
    for name in ("torch", "random", "hydra", "numpy", "fststyle"):
        (tmp_path / f"{name}.py").write_text("open('imported', 'w')\nraise SystemExit(9)\n")
    program = "import sys; from fststyle.__main__ import main; sys.argv[1:] = ['train']; main()"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], cwd=tmp_path, capture_output=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert b"Choose a style" in done.stderr
    assert not (tmp_path / "imported").exists()
