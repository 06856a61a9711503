"""The Lightning module that trains one transformer network for one style."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import EllipsisType
from typing import Any, Final, cast

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from fststyle.errors import SettingError, check_number
from fststyle.perceptual.losses import PerceptualLoss
from fststyle.perceptual.vgg import Features
from fststyle.styles.network import TransformerNet
from fststyle.training.dial import (
    VALIDATED,
    DialConfig,
    at_position,
    draw_position,
    with_own_rate,
)
from fststyle.training.guards import FallGuard, StepGuard
from fststyle.training.steady import SteadyConfig, consistency, draw

_CELL: Final = 8  # total stride of VGG up to relu4_3, in pixels
_WINDOW_SEED: Final = 8

log = logging.getLogger(__name__)

OptimizerFactory = Callable[[Iterable[Tensor]], torch.optim.Optimizer]
"""Function that makes an optimiser for the given parameters (from Hydra's ``_partial_: true``)."""


@dataclass(frozen=True)
class Schedule:
    """Duration and learning rates of a training run.

    Attributes:
        steps: Number of steps after which training ends, or ``None`` for no limit.
        minutes: Number of minutes after which training ends, or ``None`` for no limit.
        warmup_steps: Number of steps over which the learning rate rises linearly.
        ema_decay: Decay of the exponential moving average of the weights, which is exported.
            The decay is smaller at first; see `averaging`.
        gradient_clip: Maximum gradient norm.

    Raises:
        SettingError: A value is out of range, or both steps and minutes are missing.
    """

    steps: int | None = None
    minutes: float | None = None
    warmup_steps: int = 10
    ema_decay: float = 0.99
    gradient_clip: float = 1.0

    def __post_init__(self) -> None:
        if self.steps is None and self.minutes is None:
            raise SettingError(
                "The duration is missing.", remedy="Set minutes=10 or steps=2000, for example."
            )
        if self.steps is not None:
            check_number("steps", self.steps, 1, whole=True)
        if self.minutes is not None:
            check_number("minutes", self.minutes, above=True, below=True)
        check_number("trainer.warmup_steps", self.warmup_steps, below=True)
        check_number("trainer.ema_decay", self.ema_decay, 0, 1, below=True)
        check_number("trainer.gradient_clip", self.gradient_clip, above=True)

    def progress(self, steps: int, seconds: float) -> float:
        """Return the completed fraction of the run, relative to whichever limit is nearer."""
        by_steps = 0.0 if self.steps is None else steps / self.steps
        by_time = 0.0 if self.minutes is None else seconds / (60 * self.minutes)
        return min(1.0, max(by_steps, by_time))

    def limits(self) -> str:
        """Describe the limits as text."""
        steps = [] if self.steps is None else [f"{self.steps} steps"]
        minutes = [] if self.minutes is None else [f"{self.minutes:g} minutes"]
        return " or ".join(steps + minutes)

    def learning_rate_factor(self, steps: int, seconds: float) -> float:
        """Return the learning rate factor: a linear warm-up, then a cosine decay to zero."""
        warmup = min(1.0, (steps + 1) / (self.warmup_steps + 1))
        return warmup * 0.5 * (1 + math.cos(math.pi * self.progress(steps, seconds)))


def averaging(
    decay: float,
) -> Callable[[Sequence[Tensor], Sequence[Tensor], Tensor | int], None]:
    """Make an exponential moving average whose decay is small at first.

    After n steps the decay is at most (1 + n) / (10 + n), as in TensorFlow's
    ``ExponentialMovingAverage``. Otherwise the first weights would dominate in short runs.

    Args:
        decay: Decay after many steps, in [0, 1).

    Returns:
        A function for ``AveragedModel``'s argument ``multi_avg_fn``.
    """

    def update(average: Sequence[Tensor], values: Sequence[Tensor], count: Tensor | int) -> None:
        steps = int(count)
        share = 1 - min(decay, (1 + steps) / (10 + steps))
        for mean, value in zip(average, values, strict=True):
            mean.lerp_(value, share)

    return update


def _window(step: int) -> tuple[slice | EllipsisType, ...]:
    """Return the part of a batch that the loss compares: all but 7 rows and 7 columns.

    VGG's pooling layers divide an image into cells of up to 8 pixels. Without a random shift of
    these cells, the network would learn patterns that only fit them and that are locked to its own
    grid of pixels.
    """
    top, left = np.random.default_rng((_WINDOW_SEED, step)).integers(_CELL, size=2).tolist()
    rows, columns = slice(top, top + 1 - _CELL or None), slice(left, left + 1 - _CELL or None)
    return ..., rows, columns


class Stopwatch:
    """Measures the training time, without the times in which the program was paused.

    A pause (SIGSTOP, Ctrl-Z, a halted virtual machine) is an interval between two laps that is much
    longer than usual and in which this process hardly used the processor.

    Args:
        seconds: Time measured by earlier parts of the run.
    """

    _FACTOR: Final = 5  # how much longer than the usual lap
    _LEAST: Final = 5.0  # seconds; shorter waits, such as for a slow disk, count
    _BUSY: Final = 0.25  # share of the processor

    def __init__(self, seconds: float = 0.0) -> None:
        self._seconds = seconds
        self._last: tuple[float, float] | None = None
        self._usual: float | None = None

    def start(self) -> None:
        """Start or continue to measure."""
        self._last = (time.monotonic(), time.process_time())

    def stop(self) -> None:
        """Stop measuring."""
        self.lap()
        self._last = None

    def seconds(self) -> float:
        """Return the time measured so far."""
        running = 0.0 if self._last is None else time.monotonic() - self._last[0]
        return self._seconds + running

    def lap(self) -> float:
        """End an interval of work and begin the next one.

        Returns:
            The length of the pause in it that is not counted, in seconds. Usually 0.
        """
        if self._last is None:
            return 0.0
        now = (time.monotonic(), time.process_time())
        wall, busy = now[0] - self._last[0], now[1] - self._last[1]
        self._last = now
        usual = wall if self._usual is None else self._usual
        paused = wall > max(self._LEAST, self._FACTOR * usual) and busy < self._BUSY * wall
        pause = wall - usual if paused else 0.0
        # Falls at once and rises slowly: the first step is a slow one, and a pause is forgotten.
        self._usual = min(wall, 0.9 * usual + 0.1 * wall)
        self._seconds += wall - pause
        return pause


class StyleModule(pl.LightningModule):
    """Train a transformer network with a perceptual loss.

    The checkpoint contains the network, its moving average, the optimiser and the progress, but
    not VGG. If a step fails (see `StepGuard`), training returns to the last good state and
    continues at half the learning rate.

    Args:
        network: Network to train.
        loss: Perceptual loss for the style.
        optimizer: Function that makes the optimiser for the network's parameters.
        schedule: Duration and learning rates.
        steady: Settings for the steadiness term; ``None`` turns it off.
        dial: Settings for training the dial, if the network has one.
        warm_start: ``True`` if the network is already trained, so its loss need not fall.
    """

    def __init__(
        self,
        network: TransformerNet,
        loss: PerceptualLoss,
        optimizer: OptimizerFactory,
        schedule: Schedule,
        steady: SteadyConfig | None = None,
        dial: DialConfig | None = None,
        warm_start: bool = False,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False  # so that failed steps can be undone
        self.network = network
        self.average = AveragedModel(network, multi_avg_fn=averaging(schedule.ema_decay))
        self.loss = loss
        self.schedule = schedule
        self.steady = SteadyConfig(weight=0.0) if steady is None else steady
        self.dial = (dial or DialConfig()) if network.config.dial else None
        self.steps_made = 0
        """Number of batches used, including those of failed steps; a resumed run continues here."""
        self.guard = StepGuard()
        """Detector of failed steps."""
        self._fall = FallGuard(warm_start)
        self.held_out: dict[str, float] = {}
        """Losses from the last validation."""
        self.held_out_at: int | None = None
        """Number of steps made by the time of the last validation."""
        self._make_optimizer = optimizer
        self._clock = Stopwatch()
        self._recent: dict[str, float] = {}

    def seconds(self) -> float:
        """Return the training time in seconds, including earlier parts of a resumed run."""
        return self._clock.seconds()

    def progress(self) -> float:
        """Return the completed fraction of the run, in [0, 1]."""
        return self.schedule.progress(self.steps_made, self.seconds())

    def recent_losses(self) -> str:
        """Describe the smoothed losses of recent steps as text."""
        return ", ".join(f"{name} {value:.3g}" for name, value in self._recent.items())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Make the optimiser for the network; VGG is frozen."""
        named = dict(self.network.named_parameters())
        slopes = [named.pop(name) for name in list(named) if ".dial_" in name]
        optimizer = self._make_optimizer(named.values())
        if self.dial is not None:
            with_own_rate(optimizer, slopes, self.dial.lr)
        for group in optimizer.param_groups:
            group["base_lr"] = group["lr"]
        return optimizer

    def on_train_start(self) -> None:
        """Start the clock, or stop if the run was resumed after its last step."""
        self._clock.start()
        if self.progress() >= 1:
            self.trainer.should_stop = True

    def on_train_end(self) -> None:
        """Stop the clock."""
        self._clock.stop()

    def training_step(self, batch: Tensor, batch_idx: int) -> None:
        """Make one training step on a batch of photos ``(N, 3, H, W)``, RGB in [0, 1]."""
        optimizer = cast(torch.optim.Optimizer, self.optimizers())
        if self._fall.wants(self.steps_made):
            self._fall.keep(batch, self.network.state_dict(), self._loss_of)
        factor = self.schedule.learning_rate_factor(self.steps_made, self.seconds())
        for group in optimizer.param_groups:
            group["lr"] = self.guard.pace * factor * group["base_lr"]
        position = 0.0 if self.dial is None else draw_position(self.dial, self.steps_made)
        network = partial(self.network, position=position)
        seen = self._with_grain(batch)
        output = network(seen).float()
        window = _window(self.steps_made)
        targets = self.loss.content_targets(batch[window])
        terms = at_position(self.loss(output[window], targets), self.loss.config, position)
        values = {"total": terms.total, **terms._asdict()}
        if self.steady.is_due(self.steps_made, self.progress()):
            motion = draw(self.steady, self.steps_made)
            unsteady = consistency(network, seen, output, motion)
            values["steady"] = self.steady.weight * self.steady.every * unsteady
            values["total"] = terms.total + values["steady"]
        optimizer.zero_grad()
        self.manual_backward(values["total"])
        norm = torch.nn.utils.clip_grad_norm_(
            self.network.parameters(), self.schedule.gradient_clip
        )
        total = float(values["total"].detach())
        if self.guard.judge(total, float(norm)):
            self.guard.passed(total, self._state)
            optimizer.step()
            self.average.update_parameters(self.network)
            for name, value in values.items():
                number = float(value.detach())
                self._recent[name] = 0.95 * self._recent.get(name, number) + 0.05 * number
                self.log(f"train/{name}", number)
            self.log("train/learning_rate", optimizer.param_groups[0]["lr"])
        else:
            self._go_back()
        self.steps_made += 1
        self._note_pause()
        self._fall.check(self.steps_made, self.network.state_dict(), self._loss_of, batch.device)
        if self.progress() >= 1:
            self.trainer.should_stop = True

    def _with_grain(self, batch: Tensor) -> Tensor:
        """Add random noise, which differs from step to step, at the level of the grain."""
        level = self.network.config.grain
        if not level:
            return batch
        # The noise is drawn on the CPU, so that it is the same on all devices and after resuming.
        generator = torch.Generator().manual_seed(self.steps_made)
        noise = torch.randn(batch.shape, generator=generator).to(batch)
        return batch + level / 255 * noise

    def _note_pause(self) -> None:
        pause = self._clock.lap()
        if pause:
            log.info("The program was paused for %.0f seconds, which are not counted.", pause)

    @torch.no_grad()
    def _loss_of(self, batch: Tensor, weights: dict[str, Tensor]) -> float:
        targets = self.loss.content_targets(batch)
        output = torch.func.functional_call(self.network, weights, (batch,))
        return float(self.loss(output.float(), targets).total)

    def _state(self) -> dict[str, Any]:
        """Return the state that a training step changes."""
        return {
            "step": self.steps_made,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.trainer.optimizers[0].state_dict(),
        }

    def _go_back(self) -> None:
        """Return to the last good state after a failed step."""
        state = self.guard.failed()
        where = "the weights are unchanged"
        if state is not None:
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            self.trainer.optimizers[0].load_state_dict(state["optimizer"])
            where = f"back to the weights of step {state['step']}"
        rate = self.guard.pace * self.trainer.optimizers[0].param_groups[0]["base_lr"]
        log.warning(
            "Step %d failed (%s); %s, and the learning rate is halved (now at most %.3g).",
            self.steps_made + 1,
            self.guard.trouble,
            where,
            rate,
        )

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        """Log the unweighted relative losses of the averaged network for a held-out photo.

        With a dial, the losses at the positions in `VALIDATED` are also logged, as
        ``val/t-2/total`` and so on.
        """
        targets = self.loss.content_targets(batch)
        output = self.average.module(batch).float()
        self._log_losses("val", output, targets, 0)
        for position in VALIDATED if self.dial is not None else ():
            turned = self.average.module(batch, position).float()
            self._log_losses(f"val/t{position:+d}", turned, targets, position)
        motion = draw(
            SteadyConfig(), batch_idx
        )  # identical in all runs, so that runs can be compared
        unsteady = consistency(self.average.module, batch, output, motion)
        self.log("val/steady", unsteady, on_epoch=True)

    def _log_losses(self, prefix: str, output: Tensor, targets: Features, position: float) -> None:
        terms = at_position(self.loss(output, targets), self.loss.config, position)
        self.log(f"{prefix}/total", terms.total, on_epoch=True)
        losses = self.loss.relative(output, targets)
        for kind, layers in (("content", losses.content), ("style", losses.style)):
            for layer, value in layers.items():
                self.log(f"{prefix}/{kind}_{layer}", value.mean(), on_epoch=True)
        self.log(f"{prefix}/palette", losses.palette.mean(), on_epoch=True)
        self.log(f"{prefix}/tv", losses.tv.mean(), on_epoch=True)

    def on_validation_end(self) -> None:
        """Keep the validation losses for the style file and the checkpoint."""
        metrics = self.trainer.callback_metrics.items()
        self.held_out = {k.removeprefix("val/"): float(v) for k, v in metrics if "val/" in k}
        self.held_out_at = self.steps_made

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """Return the weights of the network and its moving average, without VGG."""
        state = super().state_dict(*args, **kwargs)
        return {name: value for name, value in state.items() if not name.startswith("loss.")}

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Restore the state saved by `state_dict`; if ``strict``, its keys must match exactly."""
        loss_state = {f"loss.{name}": value for name, value in self.loss.state_dict().items()}
        return super().load_state_dict({**state_dict, **loss_state}, strict, assign)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the progress of the run to a checkpoint."""
        checkpoint["fststyle"] = {
            "steps_made": self.steps_made,
            "seconds": self.seconds(),
            "guard": self.guard.state_dict(),
            "fall": self._fall.state_dict(),
            "held_out": self.held_out,
            "held_out_at": self.held_out_at,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the progress of the run from a checkpoint."""
        state = checkpoint["fststyle"]
        self.steps_made = state["steps_made"]
        self.guard.load_state_dict(state["guard"])
        self._fall.load_state_dict(state["fall"])
        self.held_out = state["held_out"]
        self.held_out_at = state["held_out_at"]
        self._clock = Stopwatch(state["seconds"])
