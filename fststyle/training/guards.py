"""Guards that undo failed training steps and check that the loss falls.

`StyleModule` calls both guards at every step and saves their state in the checkpoint.
"""

from __future__ import annotations

import copy
import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import Tensor

from fststyle.errors import DivergedError

EXPLOSION: Final = 10.0
"""Ratio to the usual loss above which a loss has exploded. Photos differ by a factor of about 2."""
_WARM_UP: Final = 20
"""Number of good steps needed to estimate the usual loss."""
_SMOOTHING: Final = 0.95
"""Decay of the moving average that estimates the usual loss."""
FORGIVEN_AFTER: Final = 100
"""Number of consecutive good steps after which earlier failures are forgotten."""


class StepGuard:
    """Detector of failed steps, which keeps a copy of the last good state.

    A step fails if its loss or gradient is not finite, or if its loss explodes. The training loop
    then restores the state that `failed` returns and continues at half the learning rate.

    Args:
        keep_every: Number of good steps between copies of the state.
    """

    def __init__(self, keep_every: int = 25) -> None:
        self.pace = 1.0
        """Multiplier for the scheduled learning rate; each failure halves it."""
        self.rollbacks = 0
        """Number of failed steps."""
        self.rollbacks_in_a_row = 0
        """Number of failed steps with fewer than `FORGIVEN_AFTER` good steps in between."""
        self.trouble = ""
        """Reason for the last failure."""
        self._keep_every = keep_every
        self._good_steps = 0
        self._good_in_a_row = 0
        self._usual = math.nan
        self._kept: dict[str, Any] | None = None

    def judge(self, total: float, gradient_norm: float) -> bool:
        """Return ``True`` if a step is good; otherwise set `trouble` to the reason."""
        if not math.isfinite(total):
            self.trouble = "its loss is not finite"
        elif not math.isfinite(gradient_norm):
            self.trouble = "its gradient is not finite"
        elif self._good_steps >= _WARM_UP and total > EXPLOSION * self._usual:
            self.trouble = f"its loss is {total:.3g} instead of about {self._usual:.3g}"
        else:
            return True
        return False

    def passed(self, total: float, state: Callable[[], dict[str, Any]]) -> None:
        """Count a good step. Call this before the optimiser step.

        The good loss and gradient belong to the current state. Whether the state after the
        optimiser step is good is not known until the next step.

        Args:
            total: Loss of the step.
            state: Function that returns the current state, which is copied.
        """
        if self._good_steps == 0:
            self._usual = total
        if self._kept is None or self._good_steps - self._kept["good_steps"] >= self._keep_every:
            self._kept = {
                "good_steps": self._good_steps,
                "usual": self._usual,
                "state": copy.deepcopy(state()),
            }
        self._usual = _SMOOTHING * self._usual + (1 - _SMOOTHING) * total
        self._good_steps += 1
        self._good_in_a_row += 1
        if self._good_in_a_row >= FORGIVEN_AFTER:
            self.rollbacks_in_a_row = 0

    def failed(self) -> dict[str, Any] | None:
        """Count a failed step, and halve `pace`.

        Returns:
            A copy of the last good state, or ``None`` if no step has been good yet. In that case
            the initial state is still unchanged.
        """
        self.pace /= 2
        self.rollbacks += 1
        self.rollbacks_in_a_row += 1
        self._good_in_a_row = 0
        if self._kept is None:
            return None
        self._good_steps, self._usual = self._kept["good_steps"], self._kept["usual"]
        state: dict[str, Any] = copy.deepcopy(self._kept["state"])
        return state

    def state_dict(self) -> dict[str, Any]:
        """Return the complete state, so that a resumed run behaves the same."""
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state saved by `state_dict`."""
        vars(self).update(state)


CHECKED_AT: Final = 100
"""Number of steps after which the loss must have fallen."""
_PROBES: Final = 8
"""Number of photos whose losses are compared."""
_MUST_FALL_TO: Final = 0.98
"""Largest ratio to the initial loss accepted from random weights. Good runs reach about 0.7."""
_MAY_RISE_TO: Final = 1.25
"""Largest ratio to the initial loss accepted from trained weights."""


Weights = dict[str, Tensor]
"""Weights by name, as a network's ``state_dict`` returns them."""


class FallGuard:
    """Check that the loss has fallen after the first hundred steps.

    The loss varies between photos by as much as it falls in a hundred steps. Therefore the
    guard keeps the first few photos and computes their losses twice: with the initial weights,
    and with the weights after a hundred steps.

    Args:
        warm_start: ``True`` if training starts from trained weights, whose loss need not fall.
    """

    def __init__(self, warm_start: bool) -> None:
        self._warm_start = warm_start
        self._photos: list[Tensor] = []
        self._losses: list[float] = []
        self._first: Weights = {}

    def wants(self, steps_made: int) -> bool:
        """Return ``True`` if a photo from this step should be kept."""
        return steps_made < CHECKED_AT and len(self._photos) < _PROBES

    def keep(
        self, photos: Tensor, weights: Weights, loss_of: Callable[[Tensor, Weights], float]
    ) -> None:
        """Keep the first photo of a batch, rounded to 8 bits, and its initial loss.

        Args:
            photos: Batch ``(N, 3, H, W)`` in [0, 1].
            weights: Current weights of the network. The guard keeps those of the first call.
            loss_of: Function that computes the loss, given a batch and weights.
        """
        if not self._first:
            self._first = {name: value.detach().clone() for name, value in weights.items()}
        photo = (photos[:1] * 255).round().to(torch.uint8)
        first = {name: value.to(photos.device) for name, value in self._first.items()}
        self._losses.append(loss_of(photo / 255, first))
        self._photos.append(photo.cpu())
        if len(self._photos) == _PROBES:
            self._first = {}

    def check(
        self,
        steps_made: int,
        weights: Weights,
        loss_of: Callable[[Tensor, Weights], float],
        device: torch.device,
    ) -> None:
        """Compare the losses after a hundred steps, and discard the photos.

        Args:
            steps_made: Number of steps so far.
            weights: Current weights of the network.
            loss_of: Function that computes the loss, given a batch and weights.
            device: Device to compute on.

        Raises:
            DivergedError: The loss has not fallen, or has risen.
        """
        if steps_made < CHECKED_AT or not self._photos:
            return
        photos, before = self._photos, self._losses
        self._photos, self._losses, self._first = [], [], {}
        after = [loss_of(photo.to(device) / 255, weights) for photo in photos]
        verdict(before, after, self._warm_start)

    def state_dict(self) -> dict[str, Any]:
        """Return the photos, their losses, and the initial weights if they are still needed."""
        return {"photos": self._photos, "losses": self._losses, "first": self._first}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state saved by `state_dict`."""
        self._photos, self._losses = state["photos"], state["losses"]
        self._first = state["first"]


def verdict(before: Sequence[float], after: Sequence[float], warm_start: bool) -> None:
    """Judge a run by how the losses of the same photos have changed.

    Args:
        before: Initial losses of the photos.
        after: Later losses of the same photos.
        warm_start: ``True`` if training started from trained weights.

    Raises:
        DivergedError: The median ratio of later to initial loss is above 0.98 (1.25 with
            ``warm_start``) or is not finite. The code is ``loss_stays`` or ``loss_rises``.
    """
    tiny = torch.finfo(torch.float32).tiny
    # An initial loss that is not finite cannot be compared.
    pairs = [pair for pair in zip(before, after, strict=True) if math.isfinite(pair[0])]
    if not pairs:
        return
    ratio = statistics.median(
        late / max(early, tiny) if math.isfinite(late) else math.inf for early, late in pairs
    )
    if ratio <= (_MAY_RISE_TO if warm_start else _MUST_FALL_TO):
        return
    if ratio <= 1 / _MUST_FALL_TO:
        raise DivergedError(
            f"The loss has not changed after {CHECKED_AT} steps.",
            remedy="Try a different learning rate (optim.lr), check the style image and the "
            "photos, then start again.",
            code="loss_stays",
        )
    raise DivergedError(
        f"After {CHECKED_AT} steps, the loss has grown to {ratio:.3g} times its initial value.",
        remedy="Lower optim.lr, check the style image and the photos, then start again.",
        code="loss_rises",
    )
