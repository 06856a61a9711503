"""Network shapes: quality after equal training time, and speed.

    python scripts/bench/shapes.py --photos PHOTOS -o FOLDER [--style thanos_poster] [--minutes 5]

The script trains each shape like ``python train.py`` from random weights, for the same time and on
the same photos. It measures the total loss on the same held-out crops, with the fixed measure.
Then all trained networks take turns on OpenVINO, in bfloat16 if the processor supports it. The
times are for the network alone, as medians in milliseconds. The script prints a table, and writes
``shapes.md``, ``shapes.png`` and a sheet. Runs that are already in ``records.json`` with the same
settings are not repeated.

``--shapes`` selects the shapes, each as first_stride/width/trunk/residual_blocks. The paper's
network is 1/32/128/5.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from _command import median_milliseconds, minutes, run_benchmark, training_parser
from _figures import new_figure, plot, save_sheet
from _records import Table, write_record
from _runs import OurRun, Record, Setup, run

from fststyle.errors import SettingError
from fststyle.files import write_atomically
from fststyle.runtime.runner import load_runtime

SHAPES: Final = (
    "2/24/64/5", "1/16/64/5", "1/32/128/5", "1/12/48/5", "2/32/64/5", "2/24/96/5", "2/24/64/3",
    "2/16/48/5",
)  # fmt: skip


def network_settings(shape: str) -> tuple[str, ...]:
    """Return the settings for ``first_stride/width/trunk/residual_blocks``.

    Raises:
        SettingError: The text does not have this form.
    """
    if not re.fullmatch(r"\d+/\d+/\d+/\d+", shape):
        raise SettingError(
            f"Cannot parse the shape {shape!r}; write it like 2/24/64/5.", code="unknown_shape"
        )
    names = ("first_stride", "width", "trunk", "residual_blocks")
    return tuple(
        f"network.{name}={value}" for name, value in zip(names, shape.split("/"), strict=True)
    )


def milliseconds(files: dict[str, Path], side: int, calls: int) -> dict[str, float]:
    """Time alternating calls of the networks on noise, and return the medians."""
    photo = np.random.default_rng(0).random((side, side, 3), np.float32)
    networks = {
        shape: partial(load_runtime(file, device="cpu"), photo) for shape, file in files.items()
    }
    return median_milliseconds(networks, calls)


def on_the_front(points: dict[str, tuple[float, float]]) -> list[str]:
    """Return the shapes that no other shape beats in both speed and total loss, fastest first."""
    best, front = math.inf, []
    for shape, (_, total) in sorted(points.items(), key=lambda item: item[1]):
        if total < best:
            best = total
            front.append(shape)
    return front


def figure_of(points: dict[str, tuple[float, float]], title: str) -> bytes:
    """Plot total loss against milliseconds, as a PNG."""
    figure = new_figure(7, 4.5)
    axes = figure.add_subplot()
    front = on_the_front(points)
    axes.plot(*zip(*(points[shape] for shape in front), strict=True), "--", color="C7", linewidth=1)
    for shape, (speed, total) in points.items():
        axes.plot(speed, total, "o", color="C3" if shape == SHAPES[0] else "C0")
        axes.annotate(shape, (speed, total), xytext=(5, 5), textcoords="offset points", fontsize=8)
    axes.set_xlabel("milliseconds at 512×512")
    axes.set_ylabel("total loss on held-out photos after equal training")
    axes.set_title(title)
    return plot(figure)


def table(points: dict[str, tuple[float, float]], records: Sequence[Record]) -> Table:
    """Return the results as a table, fastest first. Shapes on the Pareto front are bold."""
    by_shape = {record["run"]: record["points"][-1] for record in records}
    front = on_the_front(points)
    rows = []
    for shape, (speed, total) in sorted(points.items(), key=lambda item: item[1]):
        last = by_shape[shape]
        cells = [f"**{shape}**" if shape in front else shape, f"{speed:.1f}", f"{total:.3f}"]
        cells += [f"{last['style']:.3f}", f"{last['content']:.3f}", f"{last['steps']}"]
        rows.append(cells)
    return Table(("shape", "ms at 512²", "total", "style", "content", "steps"), rows)


def benchmark(arguments: argparse.Namespace) -> None:
    """Carry out the missing runs, then write and print the results."""
    folder: Path = arguments.output
    setup = Setup.find(arguments.style, arguments.photos, arguments.size, arguments.held_out)
    runs = [
        OurRun(
            shape,
            arguments.minutes,
            setup,
            ("init=none", *network_settings(shape), *arguments.ours),
        )
        for shape in arguments.shapes
    ]
    records = [record for record in run(runs, folder) if record["file"]]
    speeds = milliseconds({r["run"]: folder / r["file"] for r in records}, 512, arguments.calls)
    points = {r["run"]: (speeds[r["run"]], float(r["points"][-1]["total"])) for r in records}
    found = table(points, records)
    title = f"{setup.style}, {arguments.minutes:g} minutes each"
    write_atomically(folder / "shapes.md", f"{found}\n".encode())
    write_atomically(folder / "shapes.png", figure_of(points, title))
    save_sheet(setup, records, folder, folder / "sheet.png")
    print(found)
    values = {"milliseconds": speeds, "runs": records}
    write_record("shapes", values, {"shapes": found}, arguments.records)


def main() -> None:
    """Parse the command line and run the benchmark."""
    parser = training_parser(__doc__)
    add = parser.add_argument
    add("--style", default="thanos_poster", help="artwork or style image (thanos_poster)")
    add("--minutes", type=minutes, default=5.0, help="training time of each shape (5)")
    add("--shapes", type=lambda text: text.split(","), default=list(SHAPES), metavar="2/24/64/5,…")
    add("--calls", type=int, default=21, help="timed calls of each network (21)")
    run_benchmark(benchmark, parser.parse_args())


if __name__ == "__main__":
    main()
