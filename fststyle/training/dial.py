"""Training of the dial: each step trains one position, with the style weight for that position.

`fststyle.styles.dial` explains positions. Each step draws a position t and multiplies the style
weight by 2ᵗ. Source: Babaeizadeh, Ghiasi, "Adjustable Real-time Style Transfer" (ICLR 2020), who
also train one network for random weights of the loss, with conditional instance norm. Here, the
norms depend on a single number, and linearly.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from fststyle.errors import check_number
from fststyle.perceptual.losses import LossTerms
from fststyle.perceptual.presets import LossConfig
from fststyle.styles.dial import DIAL_RANGE

VALIDATED: Final = (-2, 2)
"""Positions for which losses are also measured on held-out photos, in addition to 0."""


@dataclass(frozen=True)
class DialConfig:
    """Settings for training the dial.

    Attributes:
        lr: Learning rate for the norms' dependence on the position, which starts at zero. At the
            learning rate of the norms themselves, the dial would change little.
        centre: Fraction of the steps whose position is 0. The positions of the others are spread
            evenly over the range of the dial.
        seed: Random seed for the positions.

    Raises:
        SettingError: A value is out of range.
    """

    lr: float = 0.01
    centre: float = 1 / 3
    seed: int = 0

    def __post_init__(self) -> None:
        check_number("dial.lr", self.lr, below=True)
        check_number("dial.centre", self.centre, 0, 1)
        check_number("dial.seed", self.seed, 0, whole=True)


def draw_position(config: DialConfig, step: int) -> float:
    """Draw the position for a step; the same arguments always give the same position.

    Args:
        config: Settings.
        step: Step number, starting at 0.

    Returns:
        A position from -4 to 4.
    """
    rng = np.random.default_rng((config.seed, step))
    if rng.uniform() < config.centre:
        return 0.0
    return float(rng.uniform(-DIAL_RANGE, DIAL_RANGE))


def at_position(terms: LossTerms, config: LossConfig, position: float) -> LossTerms:
    """Return the terms of the loss for a position.

    The style term is multiplied by 2ᵗ. All terms are then divided by content weight + style weight
    · 2ᵗ, relative to its value at position 0, so that strong positions do not dominate training.

    Args:
        terms: Terms of the loss at position 0.
        config: Weights of the loss.
        position: Position t of the dial.

    Returns:
        The terms; unchanged if the position is 0.
    """
    weights = [config.content_weight + config.style_weight * 2.0**t for t in (0, position)]
    if position == 0 or weights[1] == 0:
        return terms
    factor = weights[0] / weights[1]
    scaled = LossTerms(*(factor * term for term in terms))
    return scaled._replace(style=2.0**position * scaled.style)


def with_own_rate(
    optimizer: torch.optim.Optimizer, parameters: Iterable[Tensor], lr: float
) -> None:
    """Add parameters to an optimiser with a learning rate of their own.

    Args:
        optimizer: Optimiser, whose last group is for norms and biases.
        parameters: Parameters to add.
        lr: Learning rate of the parameters. All other settings are those of the last group.
    """
    kept = {key: value for key, value in optimizer.param_groups[-1].items() if key != "params"}
    optimizer.add_param_group({**kept, "params": list(parameters), "lr": lr})
