"""What guards a training run: failed steps are taken back, and the loss has to fall.

Plain torch. The module calls these at every step and keeps their state in the checkpoint.
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
"""A loss so many times the usual one has exploded; of one photo to the next it varies by 2."""
_WARM_UP: Final = 20
"""Good steps after which it is known what the usual loss is."""
_SMOOTHING: Final = 0.95
"""Decay of the moving average that is the usual loss."""
FORGIVEN_AFTER: Final = 100
"""Good steps after which earlier failures no longer count towards the end of the run."""


class StepGuard:
    """Tells good steps from failed ones, and keeps the last state that is known to be good.

    A step has failed when its loss or gradient is not finite, or its loss has exploded. Whoever
    trains then goes back to the state that `failed` returns, and goes on at half the pace.

    Args:
        keep_every: Good steps between two states that are kept.
    """

    def __init__(self, keep_every: int = 25) -> None:
        self.pace = 1.0
        """What the schedule's learning rate is multiplied by; halved by each failure."""
        self.rollbacks = 0
        """Failed steps so far."""
        self.rollbacks_in_a_row = 0
        """Failed steps without `FORGIVEN_AFTER` good ones in between."""
        self.trouble = ""
        """Why the last failed step failed."""
        self._keep_every = keep_every
        self._good_steps = 0
        self._good_in_a_row = 0
        self._usual = math.nan
        self._kept: dict[str, Any] | None = None

    def judge(self, total: float, gradient_norm: float) -> bool:
        """Whether a step may be made, by its loss and its gradient; if not, `trouble` says why."""
        if not math.isfinite(total):
            self.trouble = "its loss is not finite"
        elif not math.isfinite(gradient_norm):
            self.trouble = "its gradient is not finite"
        elif self._good_steps >= _WARM_UP and total > EXPLOSION * self._usual:
            self.trouble = f"its loss is {total:.3g}, where {self._usual:.3g} is usual"
        else:
            return True
        return False

    def passed(self, total: float, state: Callable[[], dict[str, Any]]) -> None:
        """Note a good step; to be called before the optimiser's step.

        The state is then the one whose loss and gradient were just found to be good. A state
        that a step leaves is not known to be good until the next step.

        Args:
            total: The step's loss.
            state: Gives the state to keep; a copy is made.
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
        """Note a failed step, and halve the pace.

        Returns:
            A copy of the last good state, to go back to; None where there has been none, and the
            state is the one that training began with.
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
        """All of it, the kept state too, so that a resumed run goes back where it would have."""
        return {
            "pace": self.pace,
            "rollbacks": self.rollbacks,
            "rollbacks_in_a_row": self.rollbacks_in_a_row,
            "trouble": self.trouble,
            "good_steps": self._good_steps,
            "good_in_a_row": self._good_in_a_row,
            "usual": self._usual,
            "kept": self._kept,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load what `state_dict` gave."""
        self.pace = state["pace"]
        self.rollbacks = state["rollbacks"]
        self.rollbacks_in_a_row = state["rollbacks_in_a_row"]
        self.trouble = state["trouble"]
        self._good_steps = state["good_steps"]
        self._good_in_a_row = state["good_in_a_row"]
        self._usual = state["usual"]
        self._kept = state["kept"]


CHECKED_AT: Final = 100
"""The step after which the loss must have fallen."""
_PROBES: Final = 8
"""Photographs by which that is found out."""
_MUST_FALL_TO: Final = 0.98
"""Share of the loss that may be left at most, from random weights; healthy runs are at 0.7."""
_MAY_RISE_TO: Final = 1.25
"""The same where training began with trained weights."""


Weights = dict[str, Tensor]
"""As a network's ``state_dict`` gives them."""


class FallGuard:
    """Finds out whether the loss has fallen after the first hundred steps.

    Between one photograph and the next the loss varies as much as it falls in a hundred steps, so
    the first photographs are kept, and the losses of the same ones are compared: under the
    weights that training began with, and under those after a hundred steps.

    Args:
        warm_start: Whether training begins with trained weights. The loss may then stay.
    """

    def __init__(self, warm_start: bool) -> None:
        self._warm_start = warm_start
        self._photos: list[Tensor] = []
        self._losses: list[float] = []
        self._first: Weights = {}

    def wants(self, steps_made: int) -> bool:
        """Whether a photograph of this step is to be kept."""
        return steps_made < CHECKED_AT and len(self._photos) < _PROBES

    def keep(
        self, photos: Tensor, weights: Weights, loss_of: Callable[[Tensor, Weights], float]
    ) -> None:
        """Keep the first of some photographs, rounded to 8 bits, and its loss at the beginning.

        Args:
            photos: ``(N, 3, H, W)`` in [0, 1].
            weights: The network's as they are now; those of the first call count.
            loss_of: The loss of a batch under some weights.
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
        """At the hundredth step, compare; the photographs are then let go.

        Args:
            steps_made: Steps that were made.
            weights: The network's as they are now.
            loss_of: As in `keep`.
            device: Where to compute.

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
        """The photographs, their losses, and the first weights as long as they are needed."""
        return {"photos": self._photos, "losses": self._losses, "first": self._first}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load what `state_dict` gave."""
        self._photos, self._losses = state["photos"], state["losses"]
        self._first = state["first"]


def verdict(before: Sequence[float], after: Sequence[float], warm_start: bool) -> None:
    """Judge a run by the losses of the same photographs early and later.

    Args:
        before: The losses at the beginning.
        after: Those of the same photographs later.
        warm_start: Whether training began with trained weights.

    Raises:
        DivergedError: The median of the ratios is not below 0.98, or with `warm_start` above
            1.25, or not a number.
    """
    tiny = torch.finfo(torch.float32).tiny
    # A photograph whose loss was not finite to begin with says nothing.
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
            f"After {CHECKED_AT} steps the loss is where it was; raise optim.lr, or lower it if "
            "it is above its default, check the style picture and the photos, and start again."
        )
    raise DivergedError(
        f"After {CHECKED_AT} steps the loss is {ratio:.3g} times what it was at the beginning; "
        "lower optim.lr, check the style picture and the photos, and start again."
    )
