"""Gates: checks of a trained network for visible faults.

A loss does not detect every fault. Probe photographs reveal the typical faults of these networks.
Each fault is measured by a number, which must not exceed a limit:

- ``blobs``: isolated flat patches of an unrelated colour, an artefact of instance norm;
- ``lattice_2`` and ``lattice_4``: a checkerboard of period 2 or 4, an artefact of upsampling;
- ``frame``: a border that differs from the rest of the result, an artefact of padding;
- ``structure``: the loss of the photograph's coarse structure;
- ``blur``: the loss of sharpness;
- ``lattice``: a pattern of any period from 2 to 16 pixels that stays on the pixel grid;
- ``halo``: a rim around figures on plain ground;
- ``specks``: lines and dots in a clear sky that the artwork does not have in its flat areas.

Lower is better. The modules in `fststyle.training.faults` define the measures.
``scripts/zoo/calibrate_gates.py`` prints the values of good results and of planted faults, from
which the limits were chosen; ``scripts/zoo/check_gates.py`` prints those of trained styles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fststyle.errors import QualityError
from fststyle.training.faults.blobs import blobs
from fststyle.training.faults.detail import blur, lost_structure
from fststyle.training.faults.frame import frame
from fststyle.training.faults.halo import halo
from fststyle.training.faults.lattice import checkerboard, lattice
from fststyle.training.faults.specks import specks
from fststyle.training.probes import Probes, small_probes

Pixels = NDArray[np.float32]
GateName = Literal[
    "blobs", "lattice_2", "lattice_4", "frame", "structure", "blur", "lattice", "halo", "specks"
]

LIMITS: Final[dict[GateName, float]] = {
    "blobs": 0.25,
    "lattice_2": 0.7,
    "lattice_4": 1.4,
    "frame": 2.0,
    "structure": 0.75,
    "blur": 1.25,
    "lattice": 0.5,
    "halo": 0.45,
    "specks": 0.3,
}
"""Gate → largest value that passes. The last three are half of what an eye notices."""

ONLY_WARN: Final[frozenset[GateName]] = frozenset(("lattice", "halo", "specks"))
"""Gates that most networks fail today. Networks that fail only these are installed anyway."""

STRENGTHS: Final = (0.5, 1.0, 2.0)
"""Strengths at which networks with a dial are checked; others are checked at 1."""

_FOUND: Final[dict[GateName, tuple[str, str]]] = {
    "blobs": (
        "isolated blobs of flat colour are visible on {probe}",
        "train longer, or lower loss.style_weight or optim.lr",
    ),
    "lattice_2": (
        "a checkerboard of 2 pixels is visible on {probe}",
        "train longer, or raise loss.tv_weight",
    ),
    "lattice_4": (
        "a grid of 4 pixels is visible on {probe}",
        "train longer, lower loss.style_weight, or set a smaller loss.style_sizes",
    ),
    "frame": ("a frame is visible around {probe}", "train longer, or raise data.size"),
    "structure": (
        "too little of {probe} is recognisable",
        "lower loss.style_weight, or train longer",
    ),
    "blur": ("the result for {probe} is blurred", "train longer, or lower loss.tv_weight"),
    "lattice": (
        "a pattern of {period} pixels stays in place when {probe} moves",
        "train longer, or raise steady.weight",
    ),
    "halo": (
        "the ground around the figure in {probe} differs from the rest",
        "set network.grain=4, or raise loss.window_weight",
    ),
    "specks": (
        "{probe} has lines or dots that the artwork does not have in flat areas",
        "train longer, or raise loss.tv_weight",
    ),
}


Stylise = Callable[..., Pixels]
"""Function that stylises a photo ``(H, W, 3)``, RGB in [0, 1], with the argument ``strength``."""


@dataclass(frozen=True)
class Gate:
    """The result of one check.

    Attributes:
        name: Name of the gate.
        value: Highest value of all probe photographs and strengths; lower is better. NaN does not
            pass.
        limit: Largest value that passes.
        probe: Name of the probe photograph with the highest value.
        sentence: Description of the result; for a fault, with a remedy.
        strength: Strength with the highest value.
    """

    name: GateName
    value: float
    limit: float
    probe: str
    sentence: str
    strength: float = 1.0

    @property
    def passed(self) -> bool:
        """True if the value is within the limit."""
        return self.value <= self.limit

    @property
    def blocks(self) -> bool:
        """True if the network must not be installed because of this fault."""
        return not self.passed and self.name not in ONLY_WARN


class _Found(NamedTuple):
    value: float
    probe: str
    strength: float
    period: int = 0


def check(
    stylise: Stylise,
    artwork: Pixels | None = None,
    *,
    strengths: Sequence[float] = (1.0,),
    probes: Probes | None = None,
) -> tuple[Gate, ...]:
    """Run a network on the probe photographs and measure every fault.

    Args:
        stylise: The network.
        artwork: Style image ``(h, w, 3)`` in the size used for training, RGB in [0, 1]. Without
            it, ``specks`` is not measured.
        strengths: Strengths to check.
        probes: Probe photographs, by default `small_probes`.

    Returns:
        One gate for each fault, in the order of `LIMITS`.
    """
    probes = probes or small_probes()
    found: dict[GateName, list[_Found]] = {name: [] for name in LIMITS}
    for strength in strengths:
        paint = partial(stylise, strength=strength)
        for probe, photo in probes.photos.items():
            result = paint(photo)
            for name in LIMITS:
                if probe not in probes.uses[name] or (name == "specks" and artwork is None):
                    continue
                period = 0
                if not np.isfinite(result).all():
                    value = math.nan
                elif name == "lattice":
                    value, period = lattice(paint, photo)
                elif name == "halo":
                    value = halo(photo, result, probes.figures[probe])
                elif name == "specks" and artwork is not None:
                    value = specks(result, artwork)
                else:
                    value = measure(name, photo, result)
                found[name].append(_Found(value, probe, strength, period))
    # NaN counts as worse than any number.
    worst = {
        name: max(values, key=lambda item: math.inf if math.isnan(item.value) else item.value)
        for name, values in found.items()
        if values
    }
    return tuple(_gate(name, item, len(strengths) > 1) for name, item in worst.items())


def measure(name: GateName, photo: Pixels, result: Pixels) -> float:
    """Compute the value of a gate that needs only a photo and its stylised version.

    Args:
        name: Name of a gate other than ``lattice``, ``halo`` and ``specks``.
        photo: Photo ``(H, W, 3)``, RGB in [0, 1].
        result: Stylised photo ``(H, W, 3)``, RGB in [0, 1].

    Returns:
        The value; lower is better. NaN if the result is not finite.
    """
    if not np.isfinite(result).all():
        return math.nan
    match name:
        case "blobs":
            return blobs(photo, result)
        case "lattice_2":
            return checkerboard(result, 2)
        case "lattice_4":
            return checkerboard(result, 4)
        case "frame":
            return frame(photo, result)
        case "structure":
            return lost_structure(photo, result)
        case _:
            return blur(photo, result)


def _gate(name: GateName, found: _Found, with_strength: bool) -> Gate:
    limit = LIMITS[name]
    sentence = f"{name} is {found.value:.2f}, within {limit:g}."
    if not found.value <= limit:  # NaN does not pass
        seen, remedy = _FOUND[name]
        seen = seen.format(probe=found.probe, period=found.period)
        at = f" at strength {found.strength:g}" if with_strength else ""
        numbers = f"({name} {found.value:.2f}, limit {limit:g})"
        sentence = f"{seen[0].upper()}{seen[1:]}{at} {numbers}; {remedy}."
    return Gate(name, found.value, limit, found.probe, sentence, found.strength)


def require(gates: Sequence[Gate], style_file: Path) -> None:
    """Reject a network that has a fault, unless the gate only warns of it.

    Args:
        gates: Result of `check`.
        style_file: Style file of the network, for the message.

    Raises:
        QualityError: A gate that does not only warn did not pass.
    """
    failed = [gate.sentence for gate in gates if gate.blocks]
    if failed:
        raise QualityError(
            f"{' '.join(failed)} Therefore the style is not installed.",
            path=style_file,
            remedy=f"You can still use its file: {style_file}.",
        )
