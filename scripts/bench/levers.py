"""Settings that affect training speed: the defaults, and variants with one change each.

    python scripts/bench/levers.py --photos PHOTOS -o FOLDER [--style thanos_poster] [--minutes 2]
        [--lever "NAME: key=value key=value"] …

The script trains each variant for the same time, like ``python train.py`` from random weights. It
measures all networks on the same held-out crops with the fixed measure, like
``scripts/bench/training.py``. By default, the variants in `LEVERS` are tried. The script prints a
table, and writes ``levers.md``, ``curves.png`` and a sheet. Runs that are already in
``records.json`` with the same settings are not repeated.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from _command import minutes, run_benchmark, training_parser
from _figures import curves, save_sheet
from _records import Table, write_record
from _runs import OurRun, Record, Setup, run

from fststyle.files import write_atomically

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
    """Parse ``NAME: key=value key=value``."""
    name, colon, settings = text.partition(":")
    if not colon or not name.strip() or not settings.split():
        raise argparse.ArgumentTypeError(f"must be NAME: key=value …, not {text!r}")
    return name.strip(), settings.split()


def table(records: Sequence[Record]) -> Table:
    """Return the results as a table, lowest total loss first."""
    base = next(r for r in records if r["run"] == DEFAULT)["points"][-1]["total"]
    rows = []
    for record in sorted(records, key=lambda record: float(record["points"][-1]["total"])):
        last = record["points"][-1]
        name = f"**{DEFAULT}**" if record["run"] == DEFAULT else record["run"]
        cells = [name, f"{last['total']:.3f}", f"{last['total'] / base - 1:+.1%}"]
        cells += [f"{last['style']:.3f}", f"{last['content']:.3f}", f"{last['steps']}"]
        rows.append(cells)
    return Table(("", "total", "to the default", "style", "content", "steps"), rows)


def benchmark(arguments: argparse.Namespace) -> None:
    """Carry out the missing runs, then write and print the results."""
    folder: Path = arguments.output
    setup = Setup.find(arguments.style, arguments.photos, arguments.size, arguments.held_out)
    variants = {DEFAULT: [], **dict(arguments.lever or LEVERS.items())}
    runs = [
        OurRun(name, arguments.minutes, setup, ("init=none", *arguments.ours, *settings))
        for name, settings in variants.items()
    ]
    records = run(runs, folder)
    found = table(records)
    write_atomically(folder / "levers.md", f"{found}\n".encode())
    write_atomically(folder / "curves.png", curves(records))
    save_sheet(setup, records, folder, folder / "sheet.png")
    print(found)
    write_record("levers", records, {"levers": found}, arguments.records)


def main() -> None:
    """Parse the command line and run the benchmark."""
    parser = training_parser(__doc__)
    add = parser.add_argument
    add("--style", default="thanos_poster", help="artwork or style image (thanos_poster)")
    add("--minutes", type=minutes, default=2.0, help="training time of each run (2)")
    add("--lever", type=lever, action="append", metavar="NAME: key=value …", help="change to try")
    run_benchmark(benchmark, parser.parse_args())


if __name__ == "__main__":
    main()
