"""Training time until a network is good: the usual recipe compared with fststyle's.

    python scripts/bench/training.py --photos PHOTOS -o FOLDER
    python scripts/bench/training.py --photos PHOTOS -o FOLDER --style thanos_poster
        --minutes 20 --ours-minutes 10 --budgets 1,2,5,10 --warm OTHER.onnx

The script carries out the following training runs one after another on this machine's CPU, with the
same photos and style image:

- A1 and A2 use the recipe of pytorch/examples: a network of the size given in the paper (width 32,
  5 residual blocks), float32, 4 photos of 256 pixels per step, Adam at a constant learning rate of
  1e-3, no weight averaging, no gradient clipping, and the whole VGG for the photo, too. A1 uses
  jcjohnson's published loss (``loss=johnson``), A2 uses fststyle's default loss. Both use the
  network, data and VGG of fststyle. The unbounded output, the centre crops and the memory layout of
  pytorch/examples are not copied, which can only make A faster.
- B is ``python train.py`` with each time budget. Each run ends with a learning rate of zero. Its
  validation, sheets and checkpoints count as training time.
- B warm is the same, but starts from the weights of another style's network. The script checks that
  this network was not trained on the same style image. Choose a style by another painter.

Every network is measured at set times on the same held-out crops, with the fixed measure of
``fststyle evaluate``. The clock stops during measurements. Content and style are relative and
unweighted; the total is weighted. The script prints a table, and writes ``table.md``,
``curves.png``, ``records.json``, ``sheet_STYLE.png`` and the style files. Runs that are already in
``records.json`` with the same settings are not repeated, so an interrupted benchmark can be
continued.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from _command import minutes, minutes_list, run_benchmark, training_parser
from _figures import curves, save_sheet
from _records import Table, write_record
from _runs import OurRun, PeerRun, Record, Setup, run

from fststyle.files import write_atomically
from fststyle.perceptual.presets import LossConfig, loss_config

PEER_LOSSES: Final = {"A1": loss_config("johnson"), "A2": LossConfig()}


def plan(arguments: argparse.Namespace, setup: Setup) -> list[PeerRun | OurRun]:
    """Return the runs for a style, in order."""
    overrides = ("init=none", *arguments.ours)
    budgets = sorted({*arguments.budgets, arguments.ours_minutes}, reverse=True)
    cold = [OurRun(f"B, {budget:g} min", budget, setup, overrides) for budget in budgets]
    seed = int(cold[0].config().seed)
    peers = [
        PeerRun(name, arguments.minutes, setup, loss, seed) for name, loss in PEER_LOSSES.items()
    ]
    warm = []
    if arguments.warm is not None:
        budgets = sorted(set(arguments.warm_budgets or [arguments.ours_minutes]), reverse=True)
        warm = [
            OurRun(f"B warm, {budget:g} min", budget, setup, overrides, arguments.warm)
            for budget in budgets
        ]
    runs: list[PeerRun | OurRun] = [*peers, *cold, *warm]
    return [item for item in runs if item.name[:2].strip(", ") in arguments.rows]


def first_time(points: Sequence[dict[str, Any]], total: float) -> float:
    """Return the interpolated seconds until a curve first reaches a total, or infinity."""
    if points[0]["total"] <= total:
        return float(points[0]["seconds"])
    for before, after in zip(points, points[1:], strict=False):
        if after["total"] <= total:
            share = (before["total"] - total) / (before["total"] - after["total"])
            return float(before["seconds"] + share * (after["seconds"] - before["seconds"]))
    return math.inf


def table(records: Sequence[Record]) -> Table:
    """Return the results of one style's runs as a table."""
    target, theirs = _target(records)
    header = ["", "steps", "images", "seconds", "content", "style", "total"]
    header += ["reaches A2's last total after", "times as fast"]
    rows = []
    for record in records:
        last = record["points"][-1]
        ours = first_time(record["points"], target)
        is_known = math.isfinite(ours)
        cells = [record["run"], f"{last['steps']}", f"{last['images']}", f"{last['seconds']:.0f}"]
        cells += [f"{last[key]:.3f}" for key in ("content", "style", "total")]
        cells += [f"{ours:.0f} s" if is_known else "–"]
        rows.append([*cells, f"{theirs / ours:.1f}" if is_known and ours else "–"])
    return Table(header, rows)


def summary(records: Sequence[Record]) -> list[str]:
    """Describe when A2 first reaches its last total, and which shortest budgets of B reach it."""
    target, theirs = _target(records)
    if math.isnan(target):
        return []
    lines = [f"A2 first reaches its last total, {target:.3f}, after {theirs:.0f} s."]
    for kind in ("B,", "B warm,"):
        runs = [record for record in records if record["run"].startswith(kind)]
        if runs:
            lines.append(_shortest(kind.strip(","), runs, target, theirs))
    return lines


def _target(records: Sequence[Record]) -> tuple[float, float]:
    """Return A2's last total and the time when A2 first reaches it, or NaN if A2 was not run."""
    peer = next((record for record in records if record["run"] == "A2"), None)
    if peer is None:
        return math.nan, math.nan
    target = peer["points"][-1]["total"]
    return target, first_time(peer["points"], target)


def _shortest(kind: str, runs: Sequence[Record], target: float, theirs: float) -> str:
    enough = [run["minutes"] for run in runs if run["points"][-1]["total"] <= target]
    if not enough:
        return f"{kind}: none of these budgets reaches that total at its end."
    least = min(enough)
    first = min(first_time(run["points"], target) for run in runs)
    when = f"{first:.0f} s after the start of a run" if first else "at the start"
    return (
        f"{kind}: the shortest budget that reaches that total at its end is {least:g} min, "
        f"{theirs / (60 * least):.1f} times as fast. A run first reaches it {when}."
    )


def benchmark(arguments: argparse.Namespace) -> None:
    """Carry out the missing runs, then write and print the tables."""
    folder: Path = arguments.output
    setups = [
        Setup.find(text, arguments.photos, arguments.size, arguments.held_out)
        for text in arguments.style or ["thanos_poster"]
    ]
    done = run([item for setup in setups for item in plan(arguments, setup)], folder)
    tables, text = {}, ""
    for setup in setups:
        records = [record for record in done if record["style"] == setup.style]
        save_sheet(setup, records, folder, folder / f"sheet_{setup.style}.png")
        tables[f"training-{setup.style}"] = table(records)
        notes = "".join(f"\n\n{line}" for line in summary(records))
        text += f"## {setup.style}\n\n{table(records)}{notes}\n\n"
    write_atomically(folder / "table.md", text.encode())
    write_atomically(folder / "curves.png", curves(done, "A2"))
    print(text.strip())
    write_record("training", done, tables, arguments.records)


def main() -> None:
    """Parse the command line and run the benchmark."""
    parser = training_parser(__doc__)
    add = parser.add_argument
    add("--style", action="append", help="name of an artwork, or a style image; may be repeated")
    add("--minutes", type=minutes, default=20.0, help="training time of A1 and A2 in minutes (20)")
    add("--ours-minutes", type=minutes, default=10.0, help="longest budget of B (10)")
    add("--budgets", type=minutes_list, default=[], metavar="1,2,5", help="more budgets of B")
    add("--warm", type=Path, metavar="STYLE_FILE", help="another style's network, for B warm")
    add("--warm-budgets", type=minutes_list, metavar="1,2", help="time budgets of B warm (10)")
    add("--rows", type=lambda text: text.split(","), default=["A1", "A2", "B"], metavar="A2,B")
    run_benchmark(benchmark, parser.parse_args())


if __name__ == "__main__":
    main()
