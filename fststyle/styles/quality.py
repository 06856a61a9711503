"""The measured quality of a trained style, as stored in its style file.

`fststyle.perceptual.evaluate` measures the quality. The style file stores it under the key
``quality`` of its training record, as medians over the photographs. Reading it does not require
torch.
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
    """The quality of a network compared with L-BFGS and with the photographs, at one size.

    Attributes:
        size: Side of the square photographs, in pixels.
        photos: Number of photographs.
        iterations: Number of L-BFGS iterations that were run for the comparison.
        equals: Number of L-BFGS iterations needed to reach the network's loss, for the median
            photograph. ``None`` if more iterations are needed than were run.
        equals_worst: Number of L-BFGS iterations needed to reach the network's loss, for the worst
            photograph. ``None`` if more iterations are needed than were run.
        total: Median loss of the network's results, under the fixed measure.
        photo_total: Median loss of the photographs themselves, under the fixed measure.
        style: Median relative style loss of the network's results.
        photo_style: Median relative style loss of the photographs themselves.
        content: Median relative content loss of the network's results. The content loss of the
            photographs themselves is 0.
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
        """Return, as text, the median number of L-BFGS iterations that the network equals."""
        return _count(self.equals, self.iterations)

    def worst_text(self) -> str:
        """Return the number of iterations for the worst photograph, as text."""
        return _count(self.equals_worst, self.iterations)

    def style_left(self) -> float:
        """Return the network's style loss as a fraction of that of the photographs themselves."""
        return self.style / self.photo_style if self.photo_style > 0 else math.nan


def with_quality(info: StyleInfo, qualities: Iterable[Quality]) -> StyleInfo:
    """Add the measured quality to a style's training record, replacing any earlier values.

    Args:
        info: The style's information.
        qualities: The quality at each measured size.

    Returns:
        The information, including the quality. `recorded` returns the same values again.
    """
    record = [asdict(quality) for quality in sorted(qualities, key=lambda q: q.size)]
    return dataclasses.replace(info, training={**info.training, _KEY: record})


def recorded(info: StyleInfo) -> list[Quality]:
    """Read the measured quality from a style's training record.

    Args:
        info: Information from any style file. The record is validated, because anyone could have
            written the file.

    Returns:
        The quality at each size, smallest size first. Invalid entries are omitted. The list is
        empty if the quality was never measured.
    """
    record = info.training.get(_KEY)
    if not isinstance(record, list):
        return []
    qualities = [_read(values) for values in record]
    return sorted((q for q in qualities if q is not None), key=lambda quality: quality.size)


def _read(values: Any) -> Quality | None:
    try:
        quality = Quality(**{item.name: values[item.name] for item in dataclasses.fields(Quality)})
    except (KeyError, TypeError):
        return None
    numbers = [
        value
        for name, value in asdict(quality).items()
        if not (value is None and name.startswith("equals"))
    ]
    # False for NaN, infinity, and whole numbers that do not fit into a float.
    if not all(type(value) in (int, float) and 0 <= value < 1e300 for value in numbers):
        return None
    counts = (quality.size, quality.photos, quality.iterations)
    return quality if all(isinstance(count, int) for count in counts) else None


def _count(value: float | None, most: int) -> str:
    return f"> {most}" if value is None else f"{value:.1f}"
