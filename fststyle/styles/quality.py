"""The measured quality of a trained style, as its file stores it.

`fststyle.perceptual.evaluate` measures it. The file stores medians over the photographs, under the
key ``quality`` of its training record, which can be read without torch.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final

from fststyle.styles.info import StyleInfo

_KEY: Final = "quality"


@dataclass(frozen=True)
class Quality:
    """A network against L-BFGS and against the photographs, at one size.

    Attributes:
        size: Side of the square photographs, in pixels.
        photos: Number of photographs.
        iterations: Number of L-BFGS iterations that were run for comparison.
        equals: Number of L-BFGS iterations that reach the network's loss, for the median
            photograph. None if it takes more than were run.
        equals_worst: Number of L-BFGS iterations that reach the network's loss, for the worst
            photograph. None if it takes more than were run.
        total: Median of the network's loss under the fixed measure.
        photo_total: Median of the photographs' own loss.
        style: Median of the network's relative style loss.
        photo_style: Median of the photographs' own relative style loss.
        content: Median of the network's relative content loss. The photographs' own is 0.
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
        """Return the median number of iterations as text."""
        return _count(self.equals, self.iterations)

    def worst_text(self) -> str:
        """Return the worst photograph's number of iterations as text."""
        return _count(self.equals_worst, self.iterations)

    def style_left(self) -> float:
        """Return the fraction of the photographs' own style loss that is left."""
        return self.style / self.photo_style if self.photo_style > 0 else math.nan


def with_quality(info: StyleInfo, qualities: Iterable[Quality]) -> StyleInfo:
    """Add the measured quality to a style's training record, and replace an earlier one.

    Args:
        info: The style's information.
        qualities: The quality at each size that was measured.

    Returns:
        The information with the record. `recorded` returns the same values.
    """
    record = [asdict(quality) for quality in sorted(qualities, key=lambda q: q.size)]
    return dataclasses.replace(info, training={**info.training, _KEY: record})


def recorded(info: StyleInfo) -> list[Quality]:
    """Read the measured quality from a style's training record.

    Args:
        info: The information of any style file. Its record is checked, since anyone may have
            written it.

    Returns:
        The quality at each size, smallest first. It is empty if nothing was measured, or if the
        record is not one of fststyle.
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
