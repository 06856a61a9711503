"""What makes training fast? Our default, and the same with one thing changed at a time.

    python scripts/bench/levers.py --photos PHOTOS -o FOLDER [--style thanos_poster] [--minutes 2]
        [--lever "NAME: key=value key=value"] …

trains each for the same time, as ``python train.py`` does from random weights, and measures all on
the same held-out crops under the fixed measure (as ``scripts/bench/training.py`` does). Without
``--lever``, `LEVERS` are tried. It prints a table and writes ``levers.md``, ``curves.png`` and a
sheet. A row that is in ``curves.json`` with the same settings is not trained again.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import training

from fststyle.files import write_atomically
from fststyle.styles.find import find_picture

DEFAULT: Final = "the default"
LEVERS: Final = {
    "Adam instead of Muon": ["optim=adam"],
    "2 photos a step": ["data.batch_size=2"],
    "4 photos a step": ["data.batch_size=4"],
    "float32": ["trainer.precision=32-true"],
    "warm-up over 50 steps": ["trainer.warmup_steps=50"],
    "no average": ["trainer.ema_decay=0"],
    "steady from the start": ["steady.start=0"],
    "without the steady term": ["steady.weight=0"],
    "crops of 192 pixels": ["data.size=192"],
    "the network of the paper": ["network=johnson"],
}


def lever(text: str) -> tuple[str, list[str]]:
    """Read ``NAME: key=value key=value``."""
    name, colon, settings = text.partition(":")
    if not colon or not name.strip() or not settings.split():
        raise argparse.ArgumentTypeError(f"must be NAME: key=value …, not {text!r}")
    return name.strip(), settings.split()


def plan(arguments: argparse.Namespace, picture: Path, name: str) -> list[training.Row]:
    """A row for the default, and one for each lever."""
    rows = []
    for title, settings in {DEFAULT: [], **dict(arguments.lever or LEVERS.items())}.items():
        given = argparse.Namespace(**vars(arguments))
        given.ours, given.ours_minutes = [*arguments.ours, *settings], arguments.minutes
        given.budgets, given.warm, given.rows = [], None, ["B"]
        (row,) = training.plan_rows(given, picture, name)
        rows.append(dataclasses.replace(row, name=title))
    return rows


def table(records: Sequence[dict[str, Any]]) -> str:
    """The table, the lowest total first."""
    base = next(r for r in records if r["row"] == DEFAULT)["points"][-1]["total"]
    lines = ["| | total | to the default | style | content | steps |", "| --- " * 6 + "|"]
    for record in sorted(records, key=lambda record: float(record["points"][-1]["total"])):
        last = record["points"][-1]
        name = f"**{DEFAULT}**" if record["row"] == DEFAULT else record["row"]
        lines.append(
            f"| {name} | {last['total']:.3f} | {last['total'] / base - 1:+.1%} | "
            f"{last['style']:.3f} | {last['content']:.3f} | {last['steps']} |"
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
    done = training.run_rows({name: plan(arguments, picture, name)}, {name: picture}, folder)
    text = table(done[name])
    write_atomically(folder / "levers.md", (text + "\n").encode())
    write_atomically(folder / "curves.png", training.curves_figure(done))
    training.save_sheet(arguments, done[name])
    print(text)


def main() -> None:
    """The command line."""
    parser = training.plain_parser(__doc__, 2.0)
    add = parser.add_argument
    add("--lever", type=lever, action="append", metavar="NAME: key=value …")
    training.run_bench(bench, parser.parse_args())


if __name__ == "__main__":
    main()
