"""Options and errors that the benchmarks' command lines share."""

from __future__ import annotations

import argparse
import logging
import math
import sys
from collections.abc import Callable
from pathlib import Path

from _records import add_record_option

from fststyle.errors import FststyleError


def training_parser(description: str | None) -> argparse.ArgumentParser:
    """Create a parser with the options of all benchmarks that train."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--photos", type=Path, required=True, metavar="FOLDER", help="photographs to train on")
    add("-o", "--output", type=Path, required=True, metavar="FOLDER", help="folder of the results")
    add("--size", type=int, default=256, help="side of the crops in pixels (256)")
    add("--held-out", type=int, default=8, help="photographs to measure on, at most (8)")
    add_record_option(parser)
    return parser


def minutes(text: str) -> float:
    """Read a number of minutes above 0."""
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"minutes must be above 0, not {value:g}")
    return value


def minutes_list(text: str) -> list[float]:
    """Read numbers of minutes, separated by commas."""
    return [minutes(part) for part in text.split(",")]


def run_benchmark(
    work: Callable[[argparse.Namespace], None], arguments: argparse.Namespace
) -> None:
    """Run a benchmark; print an error that the user can fix, and exit."""
    # Lightning's remarks are about its own defaults.
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    try:
        work(arguments)
    except FststyleError as error:
        raise SystemExit(f"Error: {error}") from None
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted; the same command continues after the finished trainings.\n")
        raise SystemExit(130) from None
