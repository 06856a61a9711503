"""What the tests of training share: tiny runs, in this process and in real ones of their own."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import hydra
import torch
from omegaconf import DictConfig
from torch import Tensor

from fststyle.training import main, settings
from fststyle.training.callbacks import SafeCheckpointIO
from fststyle.training.module import StyleModule

SMALL = (
    "data.size=64",
    "data.validation_photos=2",
    "network.width=4",
    "network.trunk=16",
    "network.residual_blocks=1",
    "loss.style_sizes=[64]",
    "trainer.precision=32-true",
    "trainer.accelerator=cpu",
    "trainer.gates=false",
    "report=false",
    "install=false",
)
"""A network that is trained in a second."""

PATIENCE = 300.0
"""Seconds after which a process that does not come along is given up."""


def compose(*overrides: str) -> DictConfig:
    """Compose the configuration without Hydra's command line."""
    folder = str(settings.config_folder())
    with hydra.initialize_config_dir(folder, version_base="1.3"):
        return hydra.compose("config", overrides=list(overrides))


def small(output_dir: Path, *overrides: str, style: str = "thanos_poster") -> DictConfig:
    """Compose a tiny run."""
    return compose(f"style={style}", *SMALL, f"output_dir={output_dir}", *overrides)


def newest_folder(folder: Path) -> Path:
    """The only run that Hydra made in a working folder."""
    (path,) = folder.glob("outputs/*/*")
    return path


def poison(steps: Sequence[int]) -> Callable[[StyleModule, Tensor, int], None]:
    """A training step that gets photographs of NaN at these steps."""
    original = StyleModule.training_step

    def training_step(self: StyleModule, batch: Tensor, batch_idx: int) -> None:
        original(self, batch * torch.nan if self.steps_made in steps else batch, batch_idx)

    return training_step


@dataclass
class Training:
    """A process of its own that runs ``train.py``."""

    process: BaseProcess
    folder: Path

    @property
    def out(self) -> str:
        return (self.folder / "stdout").read_text()

    @property
    def err(self) -> str:
        return (self.folder / "stderr").read_text()

    def wait(self) -> int:
        """Wait for its end; return the exit status, negative for a signal."""
        self.process.join(PATIENCE)
        status = self.process.exitcode
        if status is None:
            self.process.kill()
            raise TimeoutError(f"It does not end: {self.err}")
        self.process.close()
        return status

    def wait_for(self, pattern: str) -> None:
        """Wait until the run has made a file."""
        end = time.monotonic() + PATIENCE
        while not any(self.folder.glob(pattern)):
            if not self.process.is_alive() or time.monotonic() > end:
                raise TimeoutError(f"There is no {pattern}: {self.err}")
            time.sleep(0.01)


def start(
    folder: Path,
    *arguments: str,
    kill_at: int | None = None,
    poisoned: Sequence[int] = (),
    torn_at: int | None = None,
    full_at: int | None = None,
) -> Training:
    """Start ``train.py`` in a process of its own.

    It is forked from a process that has imported what takes seconds, and nothing else.

    Args:
        folder: Working folder, made; standard output and error go to files there.
        arguments: Of the command line.
        kill_at: The process kills itself when so many steps are made, as ``kill -9`` does.
        poisoned: Steps at which the photographs are NaN.
        torn_at: The process kills itself in the middle of writing the checkpoint of that step.
        full_at: From this step on no file can grow beyond 20 kB.
    """
    folder.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fststyle.training.main"])
    process = context.Process(
        target=_train,
        args=(str(folder), arguments, kill_at, tuple(poisoned), torn_at, full_at),
        daemon=True,
    )
    process.start()
    return Training(process, folder)


def _train(
    folder: str,
    arguments: tuple[str, ...],
    kill_at: int | None,
    poisoned: tuple[int, ...],
    torn_at: int | None,
    full_at: int | None,
) -> None:
    os.chdir(folder)
    for name, number in (("stdout", 1), ("stderr", 2)):
        os.dup2(os.open(name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), number)
    os.environ["XDG_DATA_HOME"] = str(Path(folder) / "data_home")
    torch.set_num_threads(1)
    step = poison(poisoned)

    def training_step(self: StyleModule, batch: Tensor, batch_idx: int) -> None:
        step(self, batch, batch_idx)
        if self.steps_made == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.steps_made == full_at:
            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))

    save_whole = SafeCheckpointIO.save_checkpoint

    def save_checkpoint(
        self: SafeCheckpointIO, checkpoint: dict[str, Any], path: Path, storage_options: Any = None
    ) -> None:
        save_whole(self, checkpoint, path)
        if checkpoint["fststyle"]["steps_made"] == torn_at:
            os.truncate(path, path.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    SafeCheckpointIO.save_checkpoint = save_checkpoint  # type: ignore[assignment,method-assign]
    StyleModule.training_step = training_step  # type: ignore[method-assign]
    sys.argv = ["train.py", *arguments]
    main.main()
