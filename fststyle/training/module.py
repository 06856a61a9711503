"""The Lightning module: one transformer network learning one style."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from fststyle.errors import SettingError
from fststyle.perceptual.losses import PerceptualLoss
from fststyle.styles.network import TransformerNet
from fststyle.training.guards import FallGuard, StepGuard
from fststyle.training.steady import SteadyConfig, consistency, draw

log = logging.getLogger(__name__)

OptimizerFactory = Callable[[Iterable[Tensor]], torch.optim.Optimizer]
"""What Hydra's ``_partial_: true`` gives."""


@dataclass(frozen=True)
class Schedule:
    """How long to train, and at which pace.

    Attributes:
        steps: Optimiser steps after which training ends, or None.
        minutes: Minutes after which training ends, or None.
        warmup_steps: Steps over which the learning rate rises linearly.
        ema_decay: Decay of the weights' exponential moving average, which is what is shipped;
            less at first, as `averaging` says.
        gradient_clip: Largest norm of the gradient.

    Raises:
        SettingError: A value is out of range, or neither steps nor minutes are given.
    """

    steps: int | None = None
    minutes: float | None = None
    warmup_steps: int = 10
    ema_decay: float = 0.99
    gradient_clip: float = 1.0

    def __post_init__(self) -> None:
        if self.steps is None and self.minutes is None:
            raise SettingError("Say how long to train: minutes=10, or steps=2000.")
        for name, value in (
            ("steps", self.steps),
            ("minutes", self.minutes),
            ("trainer.warmup_steps", self.warmup_steps),
            ("trainer.ema_decay", self.ema_decay),
            ("trainer.gradient_clip", self.gradient_clip),
        ):
            # A bool is an int to Python.
            if value is None and name in ("steps", "minutes"):
                continue
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise SettingError(f"{name} must be a number, not {value!r}.")
        if self.steps is not None and (not isinstance(self.steps, int) or self.steps < 1):
            raise SettingError(f"steps must be a whole number from 1, not {self.steps!r}.")
        if self.minutes is not None and not 0 < self.minutes < math.inf:
            raise SettingError(f"minutes must be a number above 0, not {self.minutes!r}.")
        if not 0 <= self.warmup_steps < math.inf:
            raise SettingError(
                f"trainer.warmup_steps must not be below 0, not {self.warmup_steps}."
            )
        if not 0 <= self.ema_decay < 1:
            raise SettingError(f"trainer.ema_decay must be in [0, 1), not {self.ema_decay}.")
        if not self.gradient_clip > 0:
            raise SettingError(f"trainer.gradient_clip must be above 0, not {self.gradient_clip}.")

    def progress(self, steps: int, seconds: float) -> float:
        """Share of the run that is done, in [0, 1]; whichever limit is nearer counts."""
        by_steps = 0.0 if self.steps is None else steps / self.steps
        by_time = 0.0 if self.minutes is None else seconds / (60 * self.minutes)
        return min(1.0, max(by_steps, by_time))

    def limits(self) -> str:
        """When training ends, as a text."""
        steps = [] if self.steps is None else [f"{self.steps} steps"]
        minutes = [] if self.minutes is None else [f"{self.minutes:g} minutes"]
        return " or ".join(steps + minutes)

    def learning_rate_factor(self, steps: int, seconds: float) -> float:
        """Linear warm-up, then half a cosine down to zero at the end of the run."""
        warmup = min(1.0, (steps + 1) / (self.warmup_steps + 1))
        return warmup * 0.5 * (1 + math.cos(math.pi * self.progress(steps, seconds)))


def averaging(
    decay: float,
) -> Callable[[Sequence[Tensor], Sequence[Tensor], Tensor | int], None]:
    """Make the step of an exponential moving average that begins as a short one.

    After n steps the decay is (1 + n) / (10 + n) at most, as in TensorFlow's
    ``ExponentialMovingAverage``, so that the average of a short run is not that of its beginning.

    Args:
        decay: In [0, 1), of a long run.

    Returns:
        What ``AveragedModel`` takes as its ``multi_avg_fn``.
    """

    def update(average: Sequence[Tensor], values: Sequence[Tensor], count: Tensor | int) -> None:
        steps = int(count)
        share = 1 - min(decay, (1 + steps) / (10 + steps))
        for mean, value in zip(average, values, strict=True):
            mean.lerp_(value, share)

    return update


class StyleModule(pl.LightningModule):
    """Trains a transformer network under a perceptual loss.

    The checkpoint holds the network, its average, the optimiser, and where the run stands;
    never VGG, which is found again. A step that fails (see `StepGuard`) is not made; training
    goes back to the last good state, at half the learning rate.

    Args:
        network: The network to train.
        loss: The loss, which holds the style.
        optimizer: Makes the optimiser of the network's parameters.
        schedule: How long and at which pace.
        steady: How much steadiness counts; None for not at all.
        warm_start: Whether the network is trained already, so that its loss need not fall.
    """

    def __init__(
        self,
        network: TransformerNet,
        loss: PerceptualLoss,
        optimizer: OptimizerFactory,
        schedule: Schedule,
        steady: SteadyConfig | None = None,
        warm_start: bool = False,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False  # for steps that fail
        self.network = network
        self.average = AveragedModel(network, multi_avg_fn=averaging(schedule.ema_decay))
        self.loss = loss
        self.schedule = schedule
        self.steady = SteadyConfig(weight=0.0) if steady is None else steady
        self.steps_made = 0
        """Batches seen, those of failed steps included; resumed data goes on from here."""
        self.guard = StepGuard()
        """Tells of failed steps."""
        self._fall = FallGuard(warm_start)
        self.held_out: dict[str, float] = {}
        """The losses of the last validation…"""
        self.held_out_at: int | None = None
        """…and the steps that were made then."""
        self._make_optimizer = optimizer
        self._seconds_before = 0.0
        self._begin: float | None = None
        self._recent: dict[str, float] = {}

    def seconds(self) -> float:
        """Training time so far, earlier parts of a resumed run included."""
        running = 0.0 if self._begin is None else time.monotonic() - self._begin
        return self._seconds_before + running

    def progress(self) -> float:
        """Share of the run that is done, in [0, 1]."""
        return self.schedule.progress(self.steps_made, self.seconds())

    def recent_losses(self) -> str:
        """The losses of the last steps, smoothed, as a text."""
        return ", ".join(f"{name} {value:.3g}" for name, value in self._recent.items())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimiser of the network alone; VGG is frozen."""
        optimizer = self._make_optimizer(self.network.parameters())
        for group in optimizer.param_groups:
            group["base_lr"] = group["lr"]
        return optimizer

    def on_train_start(self) -> None:
        """Start the clock; a run that was resumed after its last step is over."""
        self._begin = time.monotonic()
        if self.progress() >= 1:
            self.trainer.should_stop = True

    def on_train_end(self) -> None:
        """Stop the clock."""
        self._seconds_before, self._begin = self.seconds(), None

    def training_step(self, batch: Tensor, batch_idx: int) -> None:
        """One step on a batch of photographs ``(N, 3, H, W)``, RGB in [0, 1]."""
        optimizer = cast(torch.optim.Optimizer, self.optimizers())
        if self._fall.wants(self.steps_made):
            self._fall.keep(batch, self.network.state_dict(), self._loss_of)
        factor = self.schedule.learning_rate_factor(self.steps_made, self.seconds())
        for group in optimizer.param_groups:
            group["lr"] = self.guard.pace * factor * group["base_lr"]
        targets = self.loss.content_targets(batch)
        picture = self.network(batch).float()
        terms = self.loss(picture, targets)
        values = {"total": terms.total, **terms._asdict()}
        if self.steady.is_due(self.steps_made, self.progress()):
            motion = draw(self.steady, self.steps_made)
            unsteady = consistency(self.network, batch, picture, motion)
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
        self._fall.check(self.steps_made, self.network.state_dict(), self._loss_of, batch.device)
        if self.progress() >= 1:
            self.trainer.should_stop = True

    @torch.no_grad()
    def _loss_of(self, batch: Tensor, weights: dict[str, Tensor]) -> float:
        targets = self.loss.content_targets(batch)
        picture = torch.func.functional_call(self.network, weights, (batch,))
        return float(self.loss(picture.float(), targets).total)

    def _state(self) -> dict[str, Any]:
        """What a step changes."""
        return {
            "step": self.steps_made,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.trainer.optimizers[0].state_dict(),
        }

    def _go_back(self) -> None:
        """To the last good state, after a step that failed."""
        state = self.guard.failed()
        where = "the weights stay as they are"
        if state is not None:
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            self.trainer.optimizers[0].load_state_dict(state["optimizer"])
            where = f"back to the weights of step {state['step']}"
        rate = self.guard.pace * self.trainer.optimizers[0].param_groups[0]["base_lr"]
        log.warning(
            "Step %d failed (%s); %s, and the learning rate is halved: at most %.3g from here.",
            self.steps_made + 1,
            self.guard.trouble,
            where,
            rate,
        )

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        """Unweighted relative losses of the averaged network on a held-out photograph."""
        targets = self.loss.content_targets(batch)
        picture = self.average.module(batch).float()
        self.log("val/total", self.loss(picture, targets).total, on_epoch=True)
        losses = self.loss.relative(picture, targets)
        for kind, layers in (("content", losses.content), ("style", losses.style)):
            for layer, value in layers.items():
                self.log(f"val/{kind}_{layer}", value.mean(), on_epoch=True)
        self.log("val/palette", losses.palette.mean(), on_epoch=True)
        self.log("val/tv", losses.tv.mean(), on_epoch=True)
        motion = draw(SteadyConfig(), batch_idx)  # the same in all runs, to compare them
        unsteady = consistency(self.average.module, batch, picture, motion)
        self.log("val/steady", unsteady, on_epoch=True)

    def on_validation_end(self) -> None:
        """Keep the losses, for the style file and the checkpoint."""
        metrics = self.trainer.callback_metrics.items()
        self.held_out = {k.removeprefix("val/"): float(v) for k, v in metrics if "val/" in k}
        self.held_out_at = self.steps_made

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """The network's and the average's; not VGG's."""
        state = super().state_dict(*args, **kwargs)
        return {name: value for name, value in state.items() if not name.startswith("loss.")}

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Load what `state_dict` gave; anything missing or unknown is an error."""
        loss_state = {f"loss.{name}": value for name, value in self.loss.state_dict().items()}
        return super().load_state_dict({**state_dict, **loss_state}, strict, assign)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add where the run stands."""
        checkpoint["fststyle"] = {
            "steps_made": self.steps_made,
            "seconds": self.seconds(),
            "guard": self.guard.state_dict(),
            "fall": self._fall.state_dict(),
            "held_out": self.held_out,
            "held_out_at": self.held_out_at,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on from where the run stood."""
        state = checkpoint["fststyle"]
        self.steps_made = state["steps_made"]
        self.guard.load_state_dict(state["guard"])
        self._fall.load_state_dict(state["fall"])
        self.held_out = state["held_out"]
        self.held_out_at = state["held_out_at"]
        self._seconds_before = state["seconds"]
