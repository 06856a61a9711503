"""Plots of loss curves and optimisation results."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

Pixels = NDArray[np.float32]

_LONGEST: Final = 80
"""Maximum number of characters in a title or label."""


@dataclass(frozen=True)
class Curve:
    """A loss curve, optionally with a level to compare it with.

    Attributes:
        label: Name of the curve in the legend.
        iterations: Iteration numbers, starting with 0 or 1.
        losses: Loss at each iteration.
        level: Loss of another method, drawn as a horizontal line; ``None`` draws no line.
    """

    label: str
    iterations: Sequence[int]
    losses: Sequence[float]
    level: float | None = None


def loss_figure(curves: Sequence[Curve], title: str, x_label: str) -> bytes:
    """Plot losses against iterations on logarithmic axes, as a PNG.

    Args:
        curves: Curves to draw. The level of a curve is drawn as a dashed line in the same colour.
        title: Title above the plot.
        x_label: Label of the x axis.

    Returns:
        The contents of the PNG file.
    """
    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for index, curve in enumerate(curves):
        colour = f"C{index % 10}"
        axes.plot(curve.iterations, curve.losses, color=colour, label=_plain(curve.label))
        if curve.level is not None:
            axes.axhline(curve.level, color=colour, linestyle="--", linewidth=1)
    axes.set_xscale("symlog", linthresh=1)
    last = max((curve.iterations[-1] for curve in curves), default=1)
    ticks = [n * 10**k for k in range(len(str(last))) for n in (1, 2, 5) if n * 10**k <= last]
    axes.set_xticks([0, *ticks], [str(tick) for tick in (0, *ticks)])
    axes.set_xticks([], minor=True)
    axes.set_xlim(left=0)
    _logarithmic(axes)
    axes.set_xlabel(x_label)
    axes.set_ylabel("loss")
    axes.set_title(_plain(title), fontsize=10)
    if curves:
        axes.legend(fontsize=8)
    return _png(figure)


def optimisation_sheet(
    content: Pixels, style: Pixels, result: Pixels, terms: Mapping[str, Sequence[float]]
) -> bytes:
    """Draw original, style and result in a row, with the loss curves below, as a PNG.

    Args:
        content: Photo ``(H, W, 3)`` in [0, 1].
        style: Style image of any size, ``(h, w, 3)`` in [0, 1].
        result: Result of the optimisation, ``(H, W, 3)`` in [0, 1].
        terms: Weighted values at each iteration, by name of the loss term. Terms that are always
            zero are not drawn.

    Returns:
        The contents of the PNG file.
    """
    figure = Figure(figsize=(13, 8), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 3, height_ratios=(3, 2))
    for column, (name, pixels) in enumerate(
        (("original", content), ("style", style), ("result", result))
    ):
        axes = figure.add_subplot(grid[0, column])
        axes.imshow(pixels)
        axes.set_title(name)
        axes.set_axis_off()
    axes = figure.add_subplot(grid[1, :])
    shown = {name: values for name, values in terms.items() if any(v > 0 for v in values)}
    for name, values in shown.items():
        marker = "." if len(values) == 1 else ""  # a line needs at least two points
        axes.plot(range(1, len(values) + 1), values, marker=marker, label=name)
    _logarithmic(axes)
    axes.set_xlabel("iteration")
    axes.set_ylabel("weighted loss")
    if shown:
        axes.legend()
    return _png(figure)


def _logarithmic(axes: Any) -> None:
    """Make the y axis logarithmic, labelled with plain numbers."""
    axes.set_yscale("log")
    lowest, highest = axes.get_ylim()
    few_decades = highest < 1000 * lowest
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few_decades else (1,)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _plain(text: str) -> str:
    """Shorten and escape text such as a file name, so that matplotlib shows it literally."""
    text = text.encode("utf-8", "backslashreplace").decode()
    if len(text) > _LONGEST:  # longer text would leave too little space for the plot
        text = text[: _LONGEST // 2] + "…" + text[-_LONGEST // 2 :]
    # A dollar sign starts a formula, and matplotlib hides labels that start with _.
    return text.replace("$", r"\$").replace("_", " _", int(text.startswith("_")))


def _png(figure: Figure) -> bytes:
    buffer = BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
