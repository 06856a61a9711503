"""What happens beside the training steps: sheets, checkpoints, progress, and a clean end."""

from __future__ import annotations

import contextlib
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

from fststyle.errors import DivergedError, FststyleError, SettingError
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
    """Run a torch network on one photo.

    Args:
        network: ``(1, 3, H, W)`` → the same, RGB in [0, 1].
        pixels: ``(H, W, 3)``, RGB in [0, 1].

    Returns:
        ``(H, W, 3)``, RGB in [0, 1].
    """
    device = next(network.parameters()).device
    return to_pixels(network(to_tensor(pixels).to(device)))


class SampleSheets(Callback):
    """Draws the probe photos as they come out, at a few moments of the run.

    Writes ``samples/step_000123.png`` in the run folder and an image to TensorBoard.

    Args:
        folder: Where the sheets go.
        photos: Files of the probe photos, never trained on.
        at: Shares of the run after which a sheet is drawn, each in (0, 1].
        long_side: Size of the photos in pixels.

    Raises:
        SettingError: A share is not in (0, 1].
    """

    def __init__(
        self,
        folder: Path,
        photos: Sequence[Path],
        at: Sequence[float] = (0.05, 0.2, 0.4, 0.6, 0.8, 1.0),
        long_side: int = 384,
    ) -> None:
        if any(not 0 < share <= 1 for share in at):
            raise SettingError(f"callbacks.sheets.at must be shares in (0, 1], not {list(at)}.")
        self._folder = Path(folder)
        self._photos = [fit_long_side(load_image(path), long_side) for path in photos]
        self._waiting = sorted(at)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget the moments that a resumed run has behind it."""
        module: StyleModule = pl_module  # type: ignore[assignment]
        done = module.progress()
        self._waiting = [share for share in self._waiting if share > done]

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Draw a sheet when its moment has come."""
        module: StyleModule = pl_module  # type: ignore[assignment]
        done = module.progress()
        if not self._waiting or done < self._waiting[0]:
            return
        self._waiting = [share for share in self._waiting if share > done]
        network = module.average.module
        rows = [[photo, stylise_with(network, photo)] for photo in self._photos]
        picture = sheet(rows, cell_height=self._photos[0].shape[0])
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            save_photo(picture, self._folder / f"step_{module.steps_made:06d}.png")
        except (OSError, FststyleError) as error:
            log.warning("No sheet could be written to %s (%s).", self._folder, error)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image(
                    "samples", picture, module.steps_made, dataformats="HWC"
                )


class SafeCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint where it is told to, and to the disk.

    Lightning's own takes a detour by a temporary folder, which may be on another disk, and which
    a kill would litter.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint.

        Raises:
            OSError: It cannot be written.
        """
        buffer = io.BytesIO()  # torch would turn an OSError into a RuntimeError
        torch.save(checkpoint, buffer)
        with Path(path).open("wb") as file:
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())


class ResumeCheckpoint(Callback):
    """Keeps ``last.ckpt`` fresh, so that a run can be resumed after anything.

    The file is replaced as a whole; a kill while writing leaves the one before. That one stays
    as ``previous.ckpt`` after that, for the day when ``last.ckpt`` cannot be read.

    Args:
        path: The checkpoint.
        every_seconds: Time between two checkpoints.
        every_steps: Steps between two checkpoints, instead of time.

    Raises:
        SettingError: An interval is not positive.
    """

    def __init__(
        self, path: Path, every_seconds: float = 60.0, every_steps: int | None = None
    ) -> None:
        if every_seconds <= 0 or (every_steps is not None and every_steps < 1):
            raise SettingError("callbacks.checkpoint intervals must be above 0.")
        self._path = Path(path)
        self._every_seconds = every_seconds
        self._every_steps = every_steps
        self._last = time.monotonic()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock, and remove what a kill while writing has left."""
        self._last = time.monotonic()
        for temporary in self._path.parent.glob(f".{self._path.name}.*"):
            with contextlib.suppress(OSError):
                temporary.unlink()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Save when it is time."""
        module: StyleModule = pl_module  # type: ignore[assignment]
        if self._every_steps is not None:
            due = module.steps_made % self._every_steps == 0
        else:
            due = time.monotonic() - self._last >= self._every_seconds
        if due:
            self.save(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the state that a run which was stopped early goes on from."""
        self.save(trainer)

    def save(self, trainer: pl.Trainer) -> None:
        """Write the checkpoint now.

        Raises:
            OSError: It cannot be written. The ones before are as they were.
        """
        self._last = time.monotonic()
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            trainer.save_checkpoint(temporary)
            previous = self._path.with_name(PREVIOUS)
            previous.unlink(missing_ok=True)
            try:
                previous.hardlink_to(self._path)
            except FileNotFoundError:  # this is the first
                pass
            except OSError:  # a file system without links: for a moment the previous is alone
                self._path.replace(previous)
            temporary.replace(self._path)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()


class TrainingProgress(Callback):
    """A bar with time left and losses; where there is no terminal, a line now and then.

    Args:
        every_seconds: Time between two lines where there is no terminal.
        json: Tell programs instead, by lines of JSON on the standard output, about one a second.
    """

    def __init__(self, every_seconds: float = 30.0, *, json: bool = False) -> None:
        self._every_seconds = 1.0 if json else every_seconds
        self._as_json = json
        self._bar: tqdm[Any] | None = None
        self._begin = self._last_line = 0.0
        self._done_before = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        module: StyleModule = pl_module  # type: ignore[assignment]
        self._begin = self._last_line = time.monotonic()
        self._done_before = module.progress()
        if sys.stderr.isatty() and not self._as_json:
            self._bar = tqdm(total=1000, bar_format="{percentage:3.0f}% |{bar}| {desc}")

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Tell how far the run is."""
        module: StyleModule = pl_module  # type: ignore[assignment]
        now, done = time.monotonic(), module.progress()
        gained = done - self._done_before
        left = (now - self._begin) * (1 - done) / gained if gained > 0 else math.nan
        text = f"{_clock(left)} left, step {module.steps_made}, {module.recent_losses()}"
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

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()


class StopSignals(Callback):
    """Ctrl-C and SIGTERM end the run after the step at hand; a second Ctrl-C at once."""

    def __init__(self) -> None:
        self.received: int | None = None
        """The signal that ended the run, if one did."""
        self._before: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the signals over."""
        if threading.current_thread() is not threading.main_thread():
            return

        def stop(number: int, frame: FrameType | None) -> None:
            if self.received is not None:
                raise KeyboardInterrupt
            self.received = number
            trainer.should_stop = True

        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, stop)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Give the signals back."""
        self._give_back()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Give the signals back."""
        self._give_back()

    def _give_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}


class FiniteGuard(Callback):
    """Ends a run whose steps keep failing; what a failed step is, `StepGuard` says.

    Args:
        limit: Failed steps, without `FORGIVEN_AFTER` good ones in between, that end the run.

    Raises:
        SettingError: The limit is below 1.
    """

    def __init__(self, limit: int = 5) -> None:
        if limit < 1:
            raise SettingError(f"callbacks.finite.limit must be at least 1, not {limit}.")
        self._limit = limit

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Look at how many steps have failed."""
        module: StyleModule = pl_module  # type: ignore[assignment]
        if module.guard.rollbacks_in_a_row < self._limit:
            return
        count = "1 step" if self._limit == 1 else f"{self._limit} steps"
        raise DivergedError(
            f"Training diverges: {count} failed with fewer than {FORGIVEN_AFTER} good ones in "
            f"between (the last one because {module.guard.trouble}); lower optim.lr or the loss "
            "weights, and start again."
        )


def _as_json(facts: dict[str, float]) -> str:
    return json.dumps({k: v if math.isfinite(v) else None for k, v in facts.items()})


def _clock(seconds: float) -> str:
    if not math.isfinite(seconds):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
