"""What was measured of a trained style, in short, as its file carries it.

The measurement is `fststyle.perceptual.evaluate`'s; this is what remains of it when torch is not
there: medians over the photographs, under the key ``quality`` of the file's training record.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from fststyle.styles.info import StyleInfo

if TYPE_CHECKING:
    pass

_KEY: Final = "quality"


@dataclass(frozen=True)
class Quality:
    """A network against L-BFGS and against the photographs, at one size.

    Attributes:
        size: Side of the square photographs, in pixels.
        photos: How many there were.
        iterations: Of L-BFGS that were made.
        equals: Iterations of L-BFGS that the network is worth, the median photograph's; None
            if it is more than were made.
        equals_worst: The same of the worst photograph.
        total: The network's loss under the fixed measure, the median, as all that follow.
        photo_total: The photograph's own.
        style: The network's relative style loss.
        photo_style: The photograph's own.
        content: The network's relative content loss; the photograph's own is 0.
    """

    size: int
    photos: int
    iterations: int
    equals: float | None
    equals_worst: float | None
    total: float
    photo_total: float
    style: float
    photo_style: float
    content: float

    def equals_text(self) -> str:
        """The number of iterations, for people."""
        return _count(self.equals, self.iterations)

    def worst_text(self) -> str:
        """The worst photograph's number of iterations, for people."""
        return _count(self.equals_worst, self.iterations)

    def style_left(self) -> float:
        """The share of the photographs' own style loss that is left."""
        return self.style / self.photo_style if self.photo_style > 0 else math.nan


def with_quality(info: StyleInfo, qualities: Iterable[Quality]) -> StyleInfo:
    """Add what was measured to a style's training record, in place of what is there.

    Args:
        info: Of the style.
        qualities: At the sizes that were measured.

    Returns:
        The information with the record; `recorded` gives the same values back.
    """
    record = [asdict(quality) for quality in sorted(qualities, key=lambda q: q.size)]
    return dataclasses.replace(info, training={**info.training, _KEY: record})


def recorded(info: StyleInfo) -> list[Quality]:
    """Read what was measured from a style's training record.

    Args:
        info: Of any style file; what a stranger wrote there is not trusted.

    Returns:
        By rising size; empty if nothing was measured, or not as fststyle records it.
    """
    record = info.training.get(_KEY)
    if not isinstance(record, list):
        return []
    qualities = [_read(values) for values in record]
    return sorted((q for q in qualities if q is not None), key=lambda quality: quality.size)


def _read(values: object) -> Quality | None:
    if not isinstance(values, dict):
        return None
    known: dict[str, Any] = {}
    for item in dataclasses.fields(Quality):
        value = values.get(item.name)
        if value is None and item.name in values and item.name.startswith("equals"):
            known[item.name] = None
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        if item.name in ("size", "photos", "iterations") and not isinstance(value, int):
            return None
        if not (math.isfinite(value) and value >= 0):
            return None
        known[item.name] = value
    return Quality(**known)


def _count(value: float | None, most: int) -> str:
    return f"> {most}" if value is None else f"{value:.1f}"
