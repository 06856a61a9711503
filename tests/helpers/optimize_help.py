"""Steps of an optimisation that never ran."""

from __future__ import annotations

import torch

from fststyle.perceptual.losses import LossTerms
from fststyle.perceptual.optimize import Step


def step(index: int, total: int, round_: int = 1) -> Step:
    """Make a step whose image is grey, brighter with each step."""
    image = torch.full((1, 3, 8, 8), index / 1000)
    terms = LossTerms(torch.tensor(1.0), torch.tensor(2.0), torch.tensor(0.5), torch.tensor(0.0))
    return Step(index, total, round_, index, terms, image)
