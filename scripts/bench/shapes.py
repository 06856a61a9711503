"""The network's shape: quality after equal training against speed, for several shapes.

    python scripts/bench/shapes.py --photos PHOTOS -o FOLDER [--style thanos_poster] [--minutes 5]

trains each shape as ``python train.py`` does, from random weights, for the same time on the same
photos, and takes the total under the fixed measure on the same held-out crops. Then all trained
networks take turns on OpenVINO, in bfloat16 where the processor has it: milliseconds of the
network alone, medians. It prints a table, and writes ``shapes.md``, ``shapes.png`` and a sheet.
A shape that is in ``curves.json`` with the same settings is not trained again.

``--shapes`` chooses some by first_stride/width/trunk/residual_blocks: 1/32/128/5 is the paper's.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import math
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import training
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fststyle.errors import FststyleError
from fststyle.files import write_atomically
from fststyle.runtime.runner import load_runtime
from fststyle.styles.find import find_picture
from fststyle.styles.shape import NetworkConfig

SHAPES: Final = (
    "2/24/64/5", "1/16/64/5", "1/32/128/5", "1/12/48/5", "2/32/64/5", "2/24/96/5", "2/24/64/3",
    "2/16/48/5",
)  # fmt: skip


def network_config(shape: str) -> NetworkConfig:
    """Read ``first_stride/width/trunk/residual_blocks``.

    Raises:
        FststyleError: It is none.
    """
    names = ("first_stride", "width", "trunk", "residual_blocks")
    try:
        values = dict(zip(names, map(int, shape.split("/")), strict=True))
    except ValueError as error:
        raise FststyleError(f"{shape} is no shape; write one such as 2/24/64/5.") from error
    return NetworkConfig(**values)


def plan(arguments: argparse.Namespace, picture: Path, name: str) -> list[training.Row]:
    """A row for each shape."""
    rows = []
    for shape in arguments.shapes:
        config = dataclasses.asdict(network_config(shape))
        given = argparse.Namespace(**vars(arguments))
        given.ours = [*(f"network.{key}={value}" for key, value in config.items()), *arguments.ours]
        given.ours_minutes, given.budgets = arguments.minutes, []
        given.warm, given.rows = None, ["B"]
        (row,) = training.plan_rows(given, picture, name)
        rows.append(dataclasses.replace(row, name=shape))
    return rows


def milliseconds(files: dict[str, Path], side: int, calls: int) -> dict[str, float]:
    """Time the networks on noise, turn by turn."""
    photo = np.random.default_rng(0).random((side, side, 3), np.float32)
    runtimes = {shape: load_runtime(file, device="cpu") for shape, file in files.items()}
    times: dict[str, list[float]] = {shape: [] for shape in files}
    for call in range(calls + 1):
        for shape, runtime in runtimes.items():
            begin = time.perf_counter()
            runtime(photo)
            if call > 0:  # the first has to warm up
                times[shape].append(1000 * (time.perf_counter() - begin))
    return {shape: statistics.median(values) for shape, values in times.items()}


def on_the_front(points: dict[str, tuple[float, float]]) -> list[str]:
    """The shapes that no other one beats in both speed and total, by their speed."""
    best, front = math.inf, []
    for shape, (_, total) in sorted(points.items(), key=lambda item: item[1]):
        if total < best:
            best = total
            front.append(shape)
    return front


def figure_of(points: dict[str, tuple[float, float]], title: str) -> bytes:
    """The totals against the milliseconds, as a PNG."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    front = on_the_front(points)
    axes.plot(*zip(*(points[shape] for shape in front), strict=True), "--", color="C7", linewidth=1)
    for shape, (speed, total) in points.items():
        axes.plot(speed, total, "o", color="C3" if shape == SHAPES[0] else "C0")
        axes.annotate(shape, (speed, total), xytext=(5, 5), textcoords="offset points", fontsize=8)
    axes.set_xlabel("milliseconds at 512×512")
    axes.set_ylabel("total on held-out photos after equal training")
    axes.set_title(title)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def table(points: dict[str, tuple[float, float]], records: Sequence[dict[str, Any]]) -> str:
    """The table, fastest first."""
    lines = ["| shape | ms at 512² | total | style | content | steps |", "| --- " * 6 + "|"]
    by_shape = {record["row"]: record["points"][-1] for record in records}
    front = on_the_front(points)
    for shape, (speed, total) in sorted(points.items(), key=lambda item: item[1]):
        last = by_shape[shape]
        name = f"**{shape}**" if shape in front else shape
        lines.append(
            f"| {name} | {speed:.1f} | {total:.3f} | {last['style']:.3f} | "
            f"{last['content']:.3f} | {last['steps']} |"
        )
    return "\n".join(lines)


def bench(arguments: argparse.Namespace) -> None:
    """Train what is not trained yet, and write and print the results.

    Raises:
        FststyleError: A setting is wrong, or a training cannot be made.
    """
    folder: Path = arguments.output
    picture = find_picture(arguments.style).resolve()
    name = training.style_name(arguments.style, picture)
    found = training.run_rows({name: plan(arguments, picture, name)}, {name: picture}, folder)[name]
    done = [record for record in found if record["file"]]
    speeds = milliseconds({r["row"]: folder / r["file"] for r in done}, 512, arguments.calls)
    points = {r["row"]: (speeds[r["row"]], float(r["points"][-1]["total"])) for r in done}
    text = table(points, done)
    title = f"{name}, {arguments.minutes:g} minutes each"
    write_atomically(folder / "shapes.md", (text + "\n").encode())
    write_atomically(folder / "shapes.png", figure_of(points, title))
    training.save_sheet(arguments, done)
    print(text)


def main() -> None:
    """The command line."""
    parser = training.plain_parser(__doc__, 5.0)
    add = parser.add_argument
    add("--shapes", type=lambda text: text.split(","), default=list(SHAPES), metavar="2/24/64/5,…")
    add("--calls", type=int, default=21, help="for the speed, of each network (21)")
    training.run_bench(bench, parser.parse_args())


if __name__ == "__main__":
    main()
