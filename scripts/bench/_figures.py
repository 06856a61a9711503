"""Plots and sheets for the benchmarks that train networks."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from _runs import Record, Setup
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from fststyle.images.save import save_photo
from fststyle.images.sheets import sheet
from fststyle.perceptual.tensors import to_pixels
from fststyle.styles.style_file import load_style
from fststyle.training.data import PhotoDataModule

Pixels = NDArray[np.float32]


def plot(figure: Figure) -> bytes:
    """Render a figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def new_figure(width: float, height: float) -> Figure:
    """Create a figure with the given size in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def curves(records: Sequence[Record], reference: str | None = None) -> bytes:
    """Plot total loss against training time as a PNG, with one plot for each style.

    Args:
        records: The runs.
        reference: Name of the run whose final total loss is drawn as a horizontal line.
    """
    styles = list(dict.fromkeys(record["style"] for record in records))
    figure = new_figure(8, 4.5 * len(styles))
    for index, style in enumerate(styles):
        axes = figure.add_subplot(len(styles), 1, index + 1)
        found = [record for record in records if record["style"] == style]
        for number, record in enumerate(found):
            points = [point for point in record["points"] if point["seconds"] > 0]
            axes.plot(
                [point["seconds"] for point in points],
                [point["total"] for point in points],
                "--" if "recipe" in record["settings"] else "-",
                color=f"C{number % 10}",
                marker=".",
                markersize=4,
                label=record["run"],
            )
            if record["run"] == reference:
                level = points[-1]["total"]
                axes.axhline(level, color=f"C{number % 10}", linestyle=":", linewidth=1)
        # A peak at the start would make all curves look flat.
        axes.set_ylim(top=1.05 * max(record["points"][0]["total"] for record in found))
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("seconds of training")
        axes.set_ylabel("total loss on held-out photos")
        axes.set_title(style)
        axes.legend(fontsize=8)
    return plot(figure)


@torch.no_grad()
def save_sheet(setup: Setup, records: Sequence[Record], folder: Path, path: Path) -> None:
    """Draw held-out crops, and the results of each run's network for them.

    Args:
        setup: Style and photographs used by the runs.
        records: The runs. Runs without a style file are skipped.
        folder: Folder with the style files.
        path: Path of the sheet to write.
    """
    data = PhotoDataModule(setup.photos, size=setup.size, validation_photos=setup.held_out)
    records = [record for record in records if record["file"] is not None]
    networks = [load_style(folder / record["file"])[0] for record in records]
    rows: list[list[Pixels]] = [
        [to_pixels(crop), *(to_pixels(network(crop)) for network in networks)]
        for crop in data.held_out_crops()[:4, None]
    ]
    save_photo(sheet(rows, titles=("photo", *(record["run"] for record in records))), path)
