"""Command-line options and error handling shared by the benchmarks."""

from __future__ import annotations

import argparse
import logging
import math
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from _records import RECORDS
from numpy.typing import NDArray

from fststyle.errors import FststyleError
from fststyle.images.bundled import builtin_held_out
from fststyle.images.load import load_image
from fststyle.images.resize import middle_square

Pixels = NDArray[np.float32]


def benchmark_parser(description: str | None) -> argparse.ArgumentParser:
    """Create a parser with the option for the folder that the record is written to."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    help_text = "folder for the record (benchmarks, in this repository)"
    parser.add_argument("--records", type=Path, default=RECORDS, metavar="FOLDER", help=help_text)
    return parser


def training_parser(description: str | None) -> argparse.ArgumentParser:
    """Create a parser with the options shared by all benchmarks that train networks."""
    parser = benchmark_parser(description)
    add = parser.add_argument
    add("--photos", type=Path, required=True, metavar="FOLDER", help="photographs to train on")
    add("-o", "--output", type=Path, required=True, metavar="FOLDER", help="folder for the results")
    add("--size", type=int, default=256, help="side of the crops in pixels (256)")
    add("--held-out", type=int, default=8, help="maximum number of photographs to measure on (8)")
    add("--ours", action="append", default=[], metavar="KEY=VALUE", help="train.py settings")
    return parser


def comparison_parser(description: str | None) -> argparse.ArgumentParser:
    """Create a parser with the options shared by the benchmarks that compare one style."""
    parser = benchmark_parser(description)
    add = parser.add_argument
    add("style", help="name or file of a trained style")
    add("photos", type=Path, nargs="*", metavar="PHOTO", help="default: bundled photos")
    add("--picture", type=Path, required=True, help="the style image")
    add("--size", type=int, default=512, help="side of the squares cut from the photos (512)")
    return parser


def squares(arguments: argparse.Namespace) -> list[Pixels]:
    """Return the centre squares of the photos to compare on, by default the held-out photos."""
    paths = arguments.photos or builtin_held_out()
    return [middle_square(load_image(path), arguments.size) for path in paths]


def median_milliseconds(calls: Mapping[str, Callable[[], object]], count: int) -> dict[str, float]:
    """Time alternating calls after one warm-up of each, and return the medians."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for index in range(count + 1):
        for name, call in calls.items():
            begin = time.perf_counter()
            call()
            if index > 0:
                times[name].append(1000 * (time.perf_counter() - begin))
    return {name: statistics.median(values) for name, values in times.items()}


def minutes(text: str) -> float:
    """Parse a number of minutes, which must be greater than 0."""
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"minutes must be greater than 0, not {value:g}")
    return value


def minutes_list(text: str) -> list[float]:
    """Parse a comma-separated list of minutes."""
    return [minutes(part) for part in text.split(",")]


def run_benchmark(
    work: Callable[[argparse.Namespace], None], arguments: argparse.Namespace
) -> None:
    """Run a benchmark. If an error occurs that the user can fix, print it and exit."""
    # Lightning's messages only concern its own defaults.
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    try:
        work(arguments)
    except FststyleError as error:
        raise SystemExit(f"Error: {error}") from None
    except KeyboardInterrupt:
        sys.stderr.write(
            "Interrupted. Run the same command again to continue; finished runs are not repeated.\n"
        )
        raise SystemExit(130) from None
