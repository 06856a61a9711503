"""Training callbacks for sample sheets, checkpoints, progress and a clean shutdown."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import logging
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import nn
from tqdm import tqdm

from fststyle.errors import DivergedError, FststyleError, check_number
from fststyle.files import rename
from fststyle.images.load import load_image
from fststyle.images.resize import fit_long_side
from fststyle.images.save import save_photo
from fststyle.images.sheets import sheet
from fststyle.perceptual.tensors import to_pixels, to_tensor
from fststyle.training.guards import FORGIVEN_AFTER
from fststyle.training.module import StyleModule
from fststyle.training.run_folder import PREVIOUS

log = logging.getLogger(__name__)


@torch.no_grad()
def stylise_with(network: nn.Module, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Stylise a photo with a torch network.

    Args:
        network: Network from ``(1, 3, H, W)``, RGB in [0, 1], to the same shape and range.
        pixels: Photo ``(H, W, 3)``, RGB in [0, 1].

    Returns:
        The result, ``(H, W, 3)``, RGB in [0, 1].
    """
    device = next(network.parameters()).device
    return to_pixels(network(to_tensor(pixels).to(device)))


class StyleCallback(Callback):
    """Base class for callbacks that run when training starts and after each step."""

    def started(self, trainer: pl.Trainer, module: StyleModule) -> None:
        """Do something when training starts or resumes; subclasses override this."""

    def stepped(self, trainer: pl.Trainer, module: StyleModule) -> None:
        """Do something after each step; subclasses override this."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Call `started` with the `StyleModule`."""
        self.started(trainer, _style_module(pl_module))

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Call `stepped` with the `StyleModule`."""
        self.stepped(trainer, _style_module(pl_module))


def _style_module(module: pl.LightningModule) -> StyleModule:
    return module  # type: ignore[return-value]


class SampleSheets(StyleCallback):
    """Draw sheets of stylised probe photos at several points during training.

    Each sheet is saved in ``folder`` as ``step_000123.png`` (with the number of the step) and
    shown in TensorBoard.

    Args:
        folder: Folder to save the sheets in.
        photos: Paths of the probe photos, which are never used for training.
        at: Fractions of the run at which a sheet is drawn, each greater than 0 and at most 1.
        long_side: Maximum length of the photos' long side, in pixels.

    Raises:
        SettingError: A fraction is out of range.
    """

    def __init__(
        self,
        folder: Path,
        photos: Sequence[Path],
        at: Sequence[float] = (0.05, 0.2, 0.4, 0.6, 0.8, 1.0),
        long_side: int = 384,
    ) -> None:
        for fraction in at:
            check_number("callbacks.sheets.at", fraction, 0, 1, above=True)
        self._folder = Path(folder)
        self._photos = [fit_long_side(load_image(path), long_side) for path in photos]
        self._waiting = sorted(at)

    def started(self, trainer: pl.Trainer, module: StyleModule) -> None:
        """Skip the sheets that were due before a resumed run was interrupted."""
        done = module.progress()
        self._waiting = [fraction for fraction in self._waiting if fraction > done]

    def stepped(self, trainer: pl.Trainer, module: StyleModule) -> None:
        """Draw a sheet if one is due."""
        done = module.progress()
        if not self._waiting or done < self._waiting[0]:
            return
        self._waiting = [fraction for fraction in self._waiting if fraction > done]
        network = module.average.module
        rows = [[photo, stylise_with(network, photo)] for photo in self._photos]
        pixels = sheet(rows, cell_height=self._photos[0].shape[0])
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            save_photo(pixels, self._folder / f"step_{module.steps_made:06d}.png")
        except (OSError, FststyleError) as error:
            log.warning("Cannot write a sample sheet to %s (%s).", self._folder, error)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image("samples", pixels, module.steps_made, dataformats="HWC")


class SafeCheckpointIO(TorchCheckpointIO):
    """Checkpoint writer that writes directly to the final folder and flushes to disk.

    Lightning's own class first writes to a temporary folder, which may be on another disk and
    is left behind if the process is killed.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint.

        Raises:
            OSError: The file cannot be written.
        """
        buffer = io.BytesIO()  # torch.save would turn an OSError into a RuntimeError
        torch.save(checkpoint, buffer)
        with Path(path).open("wb") as file:
            file.write(buffer.getbuffer())
            file.flush()
            try:
                os.fsync(file.fileno())
            except OSError as error:  # some network drives do not support it
                if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EPERM):
                    raise


class ResumeCheckpoint(StyleCallback):
    """Keep ``last.ckpt`` up to date, so that a run can be resumed however it ended.

    The file is replaced atomically, so the existing checkpoint survives if the process is killed
    during a write. The checkpoint before the last one is kept as ``previous.ckpt``, in case
    ``last.ckpt`` cannot be read later.

    Args:
        path: Path of the checkpoint file.
        every_seconds: Seconds between checkpoints.
        every_steps: Steps between checkpoints; overrides ``every_seconds``.

    Raises:
        SettingError: An interval is not positive.
    """

    def __init__(
        self, path: Path, every_seconds: float = 60.0, every_steps: int | None = None
    ) -> None:
        check_number("callbacks.checkpoint.every_seconds", every_seconds, above=True)
        if every_steps is not None:
            check_number("callbacks.checkpoint.every_steps", every_steps, 1, whole=True)
        self._path = Path(path)
        self._every_seconds = every_seconds
        self._every_steps = every_steps
        self._last = time.monotonic()

    def started(self, trainer: pl.Trainer, module: StyleModule) -> None:
        """Start the clock, and remove temporary files left by a killed process."""
        self._last = time.monotonic()
        for temporary in self._path.parent.glob(f".{self._path.name}.*"):
            with contextlib.suppress(OSError):
                temporary.unlink()

    def stepped(self, trainer: pl.Trainer, module: StyleModule) -> None:
        """Write a checkpoint if one is due."""
        if self._every_steps is not None:
            due = module.steps_made % self._every_steps == 0
        else:
            due = time.monotonic() - self._last >= self._every_seconds
        if due:
            self.save(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the final state, so that an interrupted run can be resumed."""
        self.save(trainer)

    def save(self, trainer: pl.Trainer) -> None:
        """Write the checkpoint.

        Raises:
            OSError: The checkpoint cannot be written. Earlier checkpoints are kept.
        """
        self._last = time.monotonic()
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            trainer.save_checkpoint(temporary)
            previous = self._path.with_name(PREVIOUS)
            previous.unlink(missing_ok=True)
            try:
                previous.hardlink_to(self._path)
            except FileNotFoundError:  # the first checkpoint
                pass
            except OSError:  # No hard links on this file system: last.ckpt is briefly missing
                with contextlib.suppress(FileNotFoundError):
                    rename(self._path, previous)
            rename(temporary, self._path)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()


class TrainingProgress(StyleCallback):
    """Show the remaining time and the losses, as a progress bar or as regular log lines.

    Args:
        every_seconds: Seconds between log lines, which replace the progress bar if the standard
            error is not a terminal.
        json: Write a line of JSON to the standard output about once a second instead, for other
            programs to read.
    """

    def __init__(self, every_seconds: float = 30.0, *, json: bool = False) -> None:
        self._every_seconds = 1.0 if json else every_seconds
        self._as_json = json
        self._bar: tqdm[Any] | None = None
        self._begin = self._last_line = 0.0
        self._done_before = 0.0

    def started(self, trainer: pl.Trainer, module: StyleModule) -> None:
        """Start the clock."""
        self._begin = self._last_line = time.monotonic()
        self._done_before = module.progress()
        if sys.stderr.isatty() and not self._as_json:
            self._bar = tqdm(total=1000, bar_format="{percentage:3.0f}% |{bar}| {desc}")

    def stepped(self, trainer: pl.Trainer, module: StyleModule) -> None:
        """Show the progress."""
        now, done = time.monotonic(), module.progress()
        gained = done - self._done_before
        left = (now - self._begin) * (1 - done) / gained if gained > 0 else math.nan
        clock = tqdm.format_interval(round(left)) if math.isfinite(left) else "?"
        text = f"{clock} left, step {module.steps_made}, {module.recent_losses()}"
        if self._bar is not None:
            self._bar.n = round(1000 * done)
            self._bar.set_description_str(text)
        elif now - self._last_line >= self._every_seconds or (self._as_json and done >= 1):
            self._last_line = now
            if self._as_json:
                facts = {"step": module.steps_made, "share": done}
                sys.stdout.write(f"{_as_json(facts | {'seconds_left': left})}\n")
                sys.stdout.flush()
            else:
                log.info("%3.0f %%: %s", 100 * done, text)

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Close the progress bar."""
        if self._bar is not None:
            self._bar.close()

    on_exception = on_train_end


def stop_signals() -> list[signal.Signals]:
    """List the signals that end a run. All but SIGINT are left out if they are ignored."""
    # Windows does not have the last two. Clusters send SIGUSR1 some time before they end a job.
    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")
    signals = [getattr(signal, name) for name in names if hasattr(signal, name)]
    return [s for s in signals if s == signal.SIGINT or signal.getsignal(s) != signal.SIG_IGN]


class StopSignals(Callback):
    """End the run after the current step on Ctrl-C or SIGTERM; a second one ends it immediately.

    SIGHUP, which is sent when the terminal is closed, and SIGUSR1 have the same effect as SIGTERM.
    They are ignored if they were ignored from the start, as with ``nohup``.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        """The signal that ended the run, or ``None``."""
        self._before: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Install the signal handlers."""
        if threading.current_thread() is not threading.main_thread():
            return

        def stop(number: int, frame: FrameType | None) -> None:
            if self.received is not None:
                raise KeyboardInterrupt
            self.received = number
            trainer.should_stop = True

        for number in stop_signals():
            self._before[number] = signal.signal(number, stop)

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Restore the previous signal handlers."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    on_exception = on_train_end


class FiniteGuard(StyleCallback):
    """End a run whose steps keep failing. `StepGuard` defines when a step fails.

    Args:
        limit: Number of failed steps that ends the run. The count restarts after
            `FORGIVEN_AFTER` consecutive good steps.

    Raises:
        SettingError: The limit is below 1.
    """

    def __init__(self, limit: int = 5) -> None:
        check_number("callbacks.finite.limit", limit, 1, whole=True)
        self._limit = limit

    def stepped(self, trainer: pl.Trainer, module: StyleModule) -> None:
        """Count the failed steps.

        Raises:
            DivergedError: The limit has been reached.
        """
        if module.guard.rollbacks_in_a_row < self._limit:
            return
        count = "1 step" if self._limit == 1 else f"{self._limit} steps"
        raise DivergedError(
            f"Training diverges: {count} failed with fewer than {FORGIVEN_AFTER} good steps in "
            f"between. The last step failed because {module.guard.trouble}.",
            remedy="Lower optim.lr or the loss weights, and start again.",
        )


def _as_json(facts: dict[str, float]) -> str:
    return json.dumps({k: v if math.isfinite(v) else None for k, v in facts.items()})
